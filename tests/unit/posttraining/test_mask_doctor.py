"""The mask doctor passes sound masks and names the problem of the others."""

from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from chats import TEMPLATES, conversation
from rich.console import Console

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.posttraining.mask.doctor import examine, lost_turn, pieces, show, spread
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.mask.page import write_page

HEAD = "{{ '<|im_start|>' + m['role'] + '\n' }}"
SAMPLES = [(f"file:{seed}", conversation(seed, system=True)) for seed in range(4)]


def encoder(tokenizer, template: str) -> ChatEncoder:
    return ChatEncoder(tokenizer, "m", "{% for m in messages %}" + template + "{% endfor %}")


@pytest.mark.parametrize("name", TEMPLATES)
def test_sound_templates_pass(chat_tokenizer, name: str) -> None:
    findings = examine(ChatEncoder(chat_tokenizer, name, TEMPLATES[name]), SAMPLES)
    assert [finding.place for finding in findings] == [place for place, _ in SAMPLES]
    assert all(0 < finding.loss_tokens < len(finding.chat.ids) for finding in findings)


def test_a_stop_token_outside_the_marks_is_refused(chat_tokenizer) -> None:
    template = HEAD + (
        "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}"
        "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}"
    )
    with pytest.raises(
        DataError, match=r"^file:0: mask doctor: the stop token <\|im_end\|> after turn 2 carries no loss"
    ):
        examine(encoder(chat_tokenizer, template), SAMPLES)


def test_a_mask_of_all_ones_is_refused(chat_tokenizer) -> None:
    template = "{% generation %}" + HEAD + "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    with pytest.raises(DataError, match="every token carries loss"):
        examine(encoder(chat_tokenizer, template), SAMPLES)


def test_a_mask_of_all_zeros_is_refused(chat_tokenizer) -> None:
    template = (
        "{% if false %}{% generation %}{% endgeneration %}{% endif %}" + HEAD + "{{ m['content'] + '<|im_end|>' }}"
    )
    with pytest.raises(DataError, match="mask doctor: no token carries loss"):
        examine(encoder(chat_tokenizer, template), SAMPLES)


def test_loss_on_the_users_words_is_refused(chat_tokenizer) -> None:
    template = HEAD + (
        "{% if m['role'] == 'system' %}{{ m['content'] + '<|im_end|>' }}"
        "{% else %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% endif %}"
    )
    with pytest.raises(DataError, match=r"'.*' at character \d+ carries loss, but is not in an assistant turn"):
        examine(encoder(chat_tokenizer, template), SAMPLES)


def test_an_assistants_word_without_loss_is_refused(chat_tokenizer) -> None:
    template = HEAD + (
        "{% if m['role'] == 'assistant' and loop.last %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
        "{% elif m['role'] == 'assistant' %}{{ m['content'] }}{% generation %}{{ '<|im_end|>' }}{% endgeneration %}"
        "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}"
    )
    with pytest.raises(DataError, match="a part of assistant turn 2 carries no loss"):
        examine(encoder(chat_tokenizer, template), SAMPLES)


def test_a_template_that_drops_the_system_turn_is_refused(chat_tokenizer) -> None:
    template = "{% if m['role'] != 'system' %}" + HEAD + "{{ m['content'] + '<|im_end|>' }}{% endif %}"
    with pytest.raises(DataError, match=r"file:0: mask doctor: the chat template drops turn 0 \(system\)"):
        examine(encoder(chat_tokenizer, template), SAMPLES)


def test_samples_that_cannot_be_encoded_are_skipped_on_request(chat_tokenizer) -> None:
    chats = ChatEncoder(chat_tokenizer, "m")
    broken = ("file:9", [{"role": "user me", "content": "y"}, {"role": "assistant", "content": "x"}])
    with pytest.raises(DataError, match="file:9: turn 0: the role 'user me'"):
        examine(chats, [broken, *SAMPLES])
    assert len(examine(chats, [broken, *SAMPLES], skip_broken=True)) == len(SAMPLES)
    with pytest.raises(DataError, match="no sample can be encoded; the first: file:9: turn 0: the role"):
        examine(chats, [broken], skip_broken=True)


def test_a_turn_cut_by_the_template_is_lost() -> None:
    turns = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "<think>so</think>three"}]
    assert lost_turn("user: one two assistant: <think>so</think>three", turns) is None
    assert lost_turn("user: one two assistant: three", turns) == 1


def test_the_pieces_are_the_text_and_the_loss_is_the_labels(chat_tokenizer) -> None:
    for name, template in TEMPLATES.items():
        chats = ChatEncoder(chat_tokenizer, name, template)
        for _, turns in SAMPLES:
            chat = chats.encode(turns)
            found = pieces(chat, chats.stop_id)
            assert "".join(text for text, _ in found) == chat.text
            words = "".join(text for text, kind in found if kind != "none")
            own = [token for token, label in zip(chat.ids, chat.labels, strict=True) if label != IGNORE]
            assert words.strip() == chats.tokenizer.decode(own).strip()


def test_the_page_shows_the_text_and_marks_the_stop(chat_tokenizer, tmp_path: Path) -> None:
    chats = ChatEncoder(chat_tokenizer, "a <b> model")
    turns = [
        {"role": "user", "content": "Is 1 < 2 & <script>alert(1)</script>?"},
        {"role": "assistant", "content": "Yes."},
    ]
    write_page(tmp_path / "page.html", examine(chats, [("f.jsonl:1", turns)]), chats)
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page and "a &lt;b&gt; model" in page
    assert '<span class="loss">Yes.</span><span class="stop">&lt;|im_end|&gt;</span>' in page
    texts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = texts.append  # type: ignore[method-assign]
    parser.feed(page)
    assert chats.render(turns).strip() in "".join(texts)


def test_the_terminal_shows_every_word(chat_tokenizer) -> None:
    chats = ChatEncoder(chat_tokenizer, "m")
    out = StringIO()
    show(examine(chats, SAMPLES), chats, Console(file=out, width=10_000), count=1)
    assert SAMPLES[0][1][1]["content"] in out.getvalue()
    assert "file:1" not in out.getvalue()


def test_samples_are_spread_over_the_data() -> None:
    chosen = spread([(str(number), []) for number in range(1000)], 4)
    assert [place for place, _ in chosen] == ["0", "250", "500", "750"]
    assert len(spread(SAMPLES)) == len(SAMPLES)
