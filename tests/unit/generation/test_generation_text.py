"""Settings, streamed text, and the expected output of a published model."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.generation.continuation import prompt_tokens, stream_continuation, stream_reply
from megalite.generation.kv_cache import check_cache
from megalite.generation.settings import GenerationSettings
from megalite.generation.stream import Tally
from megalite.generation.text_model import TextModel
from megalite.generation.text_pieces import TextPieces, cut_at_stop


def text_of(loaded: TextModel, prompt: list[int], tally: Tally | None = None, **settings: Any) -> str:
    return "".join(stream_continuation(loaded, prompt, GenerationSettings(**settings), tally))


def test_a_published_model_generates_its_published_text(shared_data: Path, stories: TextModel) -> None:
    expected = (shared_data / "models" / "stories260K" / "expected_greedy_200.txt").read_text()
    tally = Tally()
    text = text_of(stories, [1], tally, max_new_tokens=200)
    assert text.strip() == expected.strip()
    assert (tally.texts, tally.tokens, tally.passes, tally.proposed, tally.accepted) == (1, 200, 200, 0, 0)


@pytest.mark.parametrize("cache", ["static", "none"])
def test_the_cache_does_not_change_the_text(stories: TextModel, cache: str) -> None:
    prompt = prompt_tokens(stories.tokenizer, "The dog")
    assert text_of(stories, prompt, cache=cache, max_new_tokens=60) == text_of(stories, prompt, max_new_tokens=60)


def test_unsupported_caches_are_refused() -> None:
    for cache, proposals, message in (
        ("paged", False, "--cache paged: unknown; choose one of dynamic"),
        ("static", True, "only 'dynamic' can remove"),
        ("offloaded", False, "needs a CUDA device, and the model is on cpu"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_cache(cache, proposals, "cpu")
    check_cache("dynamic", True, "cpu")


def test_a_quantized_cache_goes_with_hqq(stories: TextModel) -> None:
    pytest.importorskip("hqq")
    prompt = prompt_tokens(stories.tokenizer, "Once upon a time, there was a")
    text = text_of(stories, prompt, cache="quantized", max_new_tokens=20)
    assert text.startswith(" little")


@pytest.mark.parametrize("special", [False, True])
def test_pieces_join_to_the_text_of_all_tokens(talker: TextModel, special: bool) -> None:
    tokenizer, chance = talker.tokenizer, random.Random(0)
    for _ in range(50):
        ids = [chance.randrange(len(tokenizer)) for _ in range(30)]
        pieces = TextPieces(tokenizer, [], skip_special_tokens=special)
        shown = [pieces.add(token) for token in ids]
        assert "".join(shown) + pieces.rest() == tokenizer.decode(ids, skip_special_tokens=special)


def test_a_character_is_never_shown_by_halves(talker: TextModel) -> None:
    text = "né 你好 — naïve 🙂!"
    pieces = TextPieces(talker.tokenizer, [])
    shown = [pieces.add(token) for token in talker.tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert "".join(shown) == text
    assert not any("\ufffd" in piece for piece in shown)
    assert "" in shown  # some token ended within a character


def test_pieces_of_sentencepiece_keep_the_space_of_a_first_word(stories: TextModel) -> None:
    tokenizer = stories.tokenizer
    ids = tokenizer("Once upon a time", add_special_tokens=False)["input_ids"]
    pieces = TextPieces(tokenizer, ids[:-1])
    assert tokenizer.decode(ids[:-1]) + pieces.add(ids[-1]) + pieces.rest() == "Once upon a time"


def test_the_text_ends_before_the_first_stop_string(stories: TextModel) -> None:
    whole = text_of(stories, [1], max_new_tokens=80)
    for stop in (("little girl",), ("re was", "upon a time,"), (whole[3:40], "zzz")):
        tally = Tally()
        text = text_of(stories, [1], tally, max_new_tokens=80, stop=stop)
        assert text == whole[: min(place for place in map(whole.find, stop) if place >= 0)]
        assert tally.tokens < 40
    assert text_of(stories, [1], max_new_tokens=80, stop=("never there",)) == whole
    assert cut_at_stop("abcab", ("c", "b")) == ("a", True)


def test_a_text_whose_end_begins_a_stop_string_is_not_cut(stories: TextModel) -> None:
    whole = text_of(stories, [1], max_new_tokens=20)
    assert text_of(stories, [1], max_new_tokens=20, stop=(whole[-3:] + "!!",)) == whole


def test_a_seed_repeats_the_text_and_top_k_of_one_is_greedy(stories: TextModel) -> None:
    drawn = {seed: text_of(stories, [1], temperature=1.5, seed=seed, max_new_tokens=30) for seed in (1, 2)}
    assert drawn[1] != drawn[2]
    assert text_of(stories, [1], temperature=1.5, seed=1, max_new_tokens=30) == drawn[1]
    greedy = text_of(stories, [1], max_new_tokens=30)
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        assert text_of(stories, [1], temperature=1.5, seed=3, max_new_tokens=30, **narrow) == greedy


def test_no_default_of_the_models_own_changes_the_text(stories: TextModel) -> None:
    model, prompt = stories.model, [1]
    greedy = text_of(stories, prompt, max_new_tokens=30)
    free = text_of(stories, prompt, temperature=1.0, seed=5, max_new_tokens=30)
    own = model.generation_config
    try:
        model.generation_config = type(own).from_dict(
            own.to_dict() | {"do_sample": True, "temperature": 9.0, "top_k": 2, "repetition_penalty": 5.0}
        )
        assert text_of(stories, prompt, max_new_tokens=30) == greedy
        assert text_of(stories, prompt, temperature=1.0, seed=5, max_new_tokens=30) == free
    finally:
        model.generation_config = own


def test_closing_the_iterator_ends_the_work(stories: TextModel) -> None:
    tally = Tally()
    pieces = stream_continuation(stories, [1], GenerationSettings(max_new_tokens=400), tally)
    next(pieces)
    pieces.close()
    passes = tally.passes
    assert passes < 400
    assert text_of(stories, [1], max_new_tokens=5)
    assert tally.passes == passes


def test_what_the_model_raises_reaches_the_reader(stories: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories.model, "generate", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        text_of(stories, [1])


def test_there_is_room_for_what_the_model_sees_and_no_more(talker: TextModel) -> None:
    longest = talker.model.config.max_position_embeddings
    tally = Tally()
    settings = GenerationSettings(max_new_tokens=100)
    assert "".join(stream_continuation(talker, [5] * (longest - 3), settings, tally)) is not None
    assert tally.tokens <= 3
    with pytest.raises(DataError, match=f"the prompt has {longest} tokens, but the model's context is {longest}"):
        stream_continuation(talker, [5] * longest, settings)


def test_a_reply_follows_the_template_and_hides_its_marks(talker: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = talker.model, talker.tokenizer
    messages = [{"role": "user", "content": "hi"}]
    text = "".join(stream_reply(talker, messages, GenerationSettings(max_new_tokens=12)))
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    made = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12)[0, len(prompt) :]
    assert text == tokenizer.decode(made, skip_special_tokens=True)
    bare = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    bare.chat_template = None
    with pytest.raises(DataError, match="has no chat template"):
        stream_reply(TextModel(model, bare), messages, GenerationSettings())
    bare.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="refuses the conversation: roles must alternate"):
        stream_reply(TextModel(model, bare), messages, GenerationSettings())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 0}, "--max_new_tokens 0: give at least 1"),
        ({"temperature": -1.0}, "--temperature -1.0: give 0"),
        ({"repetition_penalty": 0.0}, "--repetition_penalty 0.0: give 0.01 to 100"),
        ({"top_p": 0.0}, "--top_p 0.0: give more than 0"),
        ({"top_k": -1}, "--top_k -1: give 0"),
        ({"min_p": 1.5}, "--min_p 1.5: give 0"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"seed": -1}, "--seed -1"),
        ({"stop": ("",)}, "--stop '': give a non-empty string"),
        ({"prompt_lookup": -1}, "--prompt_lookup -1"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(GenerationSettings(), **wrong).check()
