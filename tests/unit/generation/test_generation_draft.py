"""Proposals of a draft or of the text so far: the same greedy text, the same distribution, true counts."""

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from chats import write_model
from stories import write_stories
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.config.errors import ConfigError
from megalite.generation.continuation import prompt_tokens, stream_continuation
from megalite.generation.piece_stream import Tally, stream_pieces
from megalite.generation.settings import GenerationSettings
from megalite.generation.speculation import check_same_vocabulary, compare, load_draft, summary
from megalite.generation.text_pieces import TextPieces
from megalite.huggingface.load import load_model

PROMPTS = ("The dog said", "")
Loaded = tuple[Any, Any]


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stories(shared_data / "models" / "stories260K", tmp_path_factory.mktemp("stories") / "hf")


@pytest.fixture(scope="module")
def stories(folder: Path) -> Loaded:
    return load_model(str(folder))


@pytest.fixture(scope="module")
def blurred(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with noise on its weights: a draft that is often right."""
    model, tokenizer = load_model(str(folder))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * parameter.std() * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("blurred") / "hf"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_draft_leaves_the_greedy_text_as_it_is(stories: Loaded, blurred: Path, tokens: int) -> None:
    model, tokenizer = stories
    draft = load_draft(str(blurred), model, tokenizer, tokens)
    for prompt in PROMPTS:
        ids = prompt_tokens(tokenizer, prompt)
        for settings in (GenerationSettings(30), GenerationSettings(20, repetition_penalty=1.3)):
            tally, plain = Tally(), Tally()
            text = "".join(stream_continuation(model, tokenizer, ids, settings, draft, tally))
            assert text == "".join(stream_continuation(model, tokenizer, ids, settings, None, plain))
            assert tally.tokens == plain.tokens == plain.passes
            assert tally.passes < plain.passes
            assert tally.accepted + tally.passes == tally.tokens
            assert 0 < tally.accepted <= tally.proposed <= tokens * tally.passes


def test_the_prompt_lookup_leaves_the_greedy_text_as_it_is(stories: Loaded) -> None:
    model, tokenizer = stories
    tally = Tally()
    for prompt in (*PROMPTS, "Lily was sad. Tim was sad. Lily was sad. Tim was"):
        ids, settings = prompt_tokens(tokenizer, prompt), GenerationSettings(40, prompt_lookup=8)
        text = "".join(stream_continuation(model, tokenizer, ids, settings, None, tally))
        plain = stream_continuation(model, tokenizer, ids, replace(settings, prompt_lookup=0))
        assert text == "".join(plain)
    assert 0 < tally.accepted < tally.proposed


def test_a_stop_string_among_accepted_tokens_ends_the_same_text(stories: Loaded, blurred: Path) -> None:
    model, tokenizer = stories
    draft = load_draft(str(blurred), model, tokenizer, 7)
    for stop in ("girl", "play outs", "ball."):
        settings, tally, plain = GenerationSettings(50, stop=(stop,)), Tally(), Tally()
        text = "".join(stream_continuation(model, tokenizer, [1], settings, draft, tally))
        assert text == "".join(stream_continuation(model, tokenizer, [1], settings, None, plain))
        assert stop not in text and tally.tokens == plain.tokens


def test_a_draft_that_is_the_model_itself_is_always_right(stories: Loaded, folder: Path) -> None:
    model, tokenizer = stories
    tally = Tally()
    draft = load_draft(str(folder), model, tokenizer, 3)
    text = stream_continuation(model, tokenizer, [1], GenerationSettings(40), draft, tally)
    assert len("".join(text)) > 0
    assert tally.tokens == 40 and tally.passes == 10
    assert tally.accepted == tally.proposed == 30 or tally.proposed - tally.accepted <= 1
    assert "100%" in summary(tally, True) and "4.00 tokens a pass" in summary(tally, True)


def test_a_comparison_makes_the_same_texts_and_measures_both(stories: Loaded, blurred: Path) -> None:
    model, tokenizer = stories
    draft = load_draft(str(blurred), model, tokenizer)
    found = compare(model, tokenizer, [[1], [1, 5]], GenerationSettings(10), draft, 2)
    assert found.same_texts and found.rounds == 2 and found.speed_up > 0


def tiny(seed: int) -> Any:
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=3, initializer_range=0.2, bos_token_id=None, eos_token_id=None, pad_token_id=0, **shape
    )
    model = LlamaForCausalLM(config).eval()
    model.generation_config.num_assistant_tokens = 2
    model.generation_config.num_assistant_tokens_schedule = "constant"
    model.generation_config.assistant_confidence_threshold = 0.0
    return model


class Ids:
    """A tokenizer whose text is the ids."""

    def decode(self, ids: list[int], **more: Any) -> str:
        return "".join(map(str, ids))


def test_sampling_with_a_draft_keeps_the_models_distribution() -> None:
    """All 27 texts of three tokens of a vocabulary of three, against their exact probabilities, by a chi-squared test."""
    model, draft, count, temperature = tiny(1), tiny(2), 400, 1.3
    exact, of_draft = {}, {}
    for name, one in (("model", model), ("draft", draft)):
        for text in product(range(3), repeat=3):
            with torch.no_grad():
                logs = (one(torch.tensor([[1, *text]])).logits[0] / temperature).log_softmax(-1)
            likelihood = float(sum(logs[place, token] for place, token in enumerate(text)).exp())
            (exact if name == "model" else of_draft)["".join(map(str, text))] = likelihood
    assert sum(exact.values()) == pytest.approx(1.0, abs=1e-5)
    torch.manual_seed(0)
    tally, seen = Tally(), Counter[str]()
    settings = GenerationSettings(3, temperature=temperature)
    for _ in range(count):
        seen["".join(stream_pieces(model, [1], settings, TextPieces(Ids(), []), draft, tally))] += 1
    assert 0.3 < tally.accepted / tally.proposed < 0.95

    def distance(likelihoods: dict[str, float]) -> float:
        return sum((seen[text] - count * p) ** 2 / (count * p) for text, p in likelihoods.items())

    assert distance(exact) < 54.1  # 26 degrees of freedom: exceeded once in a thousand
    assert distance(of_draft) > 100


def test_a_draft_with_another_vocabulary_is_refused(stories: Loaded, folder: Path, tmp_path: Path) -> None:
    model, tokenizer = stories
    other = write_model(tmp_path / "other" / "hf")
    with pytest.raises(ConfigError, match=r"has a vocabulary of \d+, the model one of 512; they must be the same"):
        load_draft(str(other), model, tokenizer)
    swapped = load_model(str(folder))[1]
    ids = {"a": 7, "b": 8}
    swapped.get_vocab = lambda: tokenizer.get_vocab() | ids
    with pytest.raises(ConfigError, match="another vocabulary: 'a' is 7 in the draft, and "):
        check_same_vocabulary("small", model, swapped, model, tokenizer)
