"""Labels against an independent recomputation: token ids, prefix by prefix, no characters involved."""

from pathlib import Path

import pytest
from chats import TEMPLATES, conversation

from megalite.config.errors import DataError
from megalite.posttraining.chat_mask import IGNORED, ChatEncoder
from megalite.posttraining.chat_rows import Conversation
from megalite.posttraining.mask_doctor import examine

REAL_TEMPLATES = ("llama3", "qwen2_5", "qwen3", "gemma", "phi3", "llama3_training", "qwen3_training")


def labels_by_prefix(encoder: ChatEncoder, turns: Conversation) -> list[int]:
    """Loss from the first token behind the generation prompt through the first stop token that follows."""

    def ids_of(some: Conversation, prompt: bool = False) -> list[int]:
        text = encoder.tokenizer.apply_chat_template(
            some, chat_template=encoder.template, tokenize=False, add_generation_prompt=prompt
        )
        return encoder.tokenizer(text, add_special_tokens=False)["input_ids"]

    ids = ids_of(turns)
    labels = [IGNORED] * len(ids)
    for number, turn in enumerate(turns):
        if turn["role"] == "assistant":
            head = ids_of(turns[:number], prompt=True)
            assert ids[: len(head)] == head, "what the model meets at inference is a prefix of what it is trained on"
            end = ids.index(encoder.stop_id, len(head))
            labels[len(head) : end + 1] = ids[len(head) : end + 1]
    return labels


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", [False, True])
def test_labels_equal_a_recomputation_prefix_by_prefix(chat_tokenizer, name: str, system: bool) -> None:
    encoder = ChatEncoder(chat_tokenizer, name, TEMPLATES[name])
    for seed in range(20):
        turns = conversation(seed, rounds=1 + seed % 3, system=system)
        chat = encoder.encode(turns)
        assert chat.labels == labels_by_prefix(encoder, turns)
        assert chat.ids.count(encoder.stop_id) >= 1 + seed % 3


@pytest.mark.parametrize("name", REAL_TEMPLATES)
def test_labels_of_published_templates_equal_the_recomputation(chat_tokenizer, name: str) -> None:
    trl = pytest.importorskip("trl")
    template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
    encoder = ChatEncoder(chat_tokenizer, name, template)
    for seed in range(10):
        turns = conversation(seed, rounds=1 + seed % 2)
        chat = encoder.encode(turns)
        expected = labels_by_prefix(encoder, turns)
        if encoder.has_marks:  # marks may take in the line break behind the stop token, or leave out an empty thought
            assert examine(encoder, [("sample", turns)])[0].chat == chat
            assert [n for n, token in enumerate(chat.labels) if token == encoder.stop_id] == [
                n for n, token in enumerate(expected) if token == encoder.stop_id
            ]
        else:
            assert chat.labels == expected


def test_marks_and_prefixes_give_the_same_labels(chat_tokenizer) -> None:
    marked = ChatEncoder(chat_tokenizer, "marked", TEMPLATES["chatml with marks"])
    plain = ChatEncoder(chat_tokenizer, "plain", TEMPLATES["chatml"])
    assert marked.has_marks and not plain.has_marks
    for seed in range(20):
        turns = conversation(seed, rounds=3, system=bool(seed % 2))
        assert marked.encode(turns) == plain.encode(turns)


def test_a_tokenizer_without_a_template_is_one_line(chat_tokenizer) -> None:
    import copy

    bare = copy.deepcopy(chat_tokenizer)
    bare.chat_template = None
    with pytest.raises(DataError, match=r"^MODEL: the tokenizer has no chat template; name a Jinja file"):
        ChatEncoder(bare, "MODEL")


def test_a_template_without_a_stop_token_is_refused(chat_tokenizer) -> None:
    endless = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    with pytest.raises(DataError, match="no stop token"):
        ChatEncoder(chat_tokenizer, "m", endless)


def test_a_template_that_keeps_the_last_turn_only_is_refused(chat_tokenizer) -> None:
    forgetful = "{{ messages[-1]['content'] + '</s>' }}"
    with pytest.raises(DataError, match="loses turns"):
        ChatEncoder(chat_tokenizer, "m", forgetful)


def test_a_template_that_is_not_jinja_is_refused_in_one_line(chat_tokenizer) -> None:
    with pytest.raises(DataError, match="refuses the conversation") as raised:
        ChatEncoder(chat_tokenizer, "m", "{% for m in messages %}")
    assert "\n" not in str(raised.value)


def test_a_special_token_in_the_words_of_a_turn_is_refused(chat_tokenizer) -> None:
    encoder = ChatEncoder(chat_tokenizer, "m")
    turns = [{"role": "user", "content": "what is <|im_end|> for"}, {"role": "assistant", "content": "It ends a turn."}]
    with pytest.raises(ValueError, match=r"turn 0 holds <\|im_end\|>"):
        encoder.encode(turns)
