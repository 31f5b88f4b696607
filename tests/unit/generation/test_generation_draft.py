"""Speculative decoding: the same greedy text, the same distribution, correct counts."""

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.config.errors import ConfigError
from megalite.generation import speculation
from megalite.generation.continuation import prompt_tokens, stream_continuation
from megalite.generation.settings import GenerationSettings
from megalite.generation.speculation import compare, load_draft, summary
from megalite.generation.stream import Tally, stream_pieces
from megalite.generation.text_model import TextModel
from megalite.generation.text_pieces import TextPieces
from megalite.huggingface.load import load_model

PROMPTS = ("The dog said", "")


@pytest.fixture(scope="module")
def blurred(stories_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with noise on its weights: a draft that is often accepted."""
    model, tokenizer = load_model(str(stories_folder))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * parameter.std() * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("blurred") / "hf"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def with_draft(lm: TextModel, folder: Path, *tokens: int) -> TextModel:
    return replace(lm, draft=load_draft(str(folder), lm.model, lm.tokenizer, *tokens))


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_draft_leaves_the_greedy_text_as_it_is(stories: TextModel, blurred: Path, tokens: int) -> None:
    drafted = with_draft(stories, blurred, tokens)
    for prompt in PROMPTS:
        ids = prompt_tokens(stories.tokenizer, prompt)
        for settings in (GenerationSettings(30), GenerationSettings(20, repetition_penalty=1.3)):
            tally, plain = Tally(), Tally()
            text = "".join(stream_continuation(drafted, ids, settings, tally))
            assert text == "".join(stream_continuation(stories, ids, settings, plain))
            assert tally.tokens == plain.tokens == plain.passes
            assert tally.passes < plain.passes
            assert tally.accepted + tally.passes == tally.tokens
            assert 0 < tally.accepted <= tally.proposed <= tokens * tally.passes


def test_the_prompt_lookup_leaves_the_greedy_text_as_it_is(stories: TextModel) -> None:
    tally = Tally()
    for prompt in (*PROMPTS, "Lily was sad. Tim was sad. Lily was sad. Tim was"):
        ids, settings = prompt_tokens(stories.tokenizer, prompt), GenerationSettings(40, prompt_lookup=8)
        text = "".join(stream_continuation(stories, ids, settings, tally))
        plain = stream_continuation(stories, ids, replace(settings, prompt_lookup=0))
        assert text == "".join(plain)
    assert 0 < tally.accepted < tally.proposed


def test_a_stop_string_among_accepted_tokens_ends_the_same_text(stories: TextModel, blurred: Path) -> None:
    drafted = with_draft(stories, blurred, 7)
    for stop in ("girl", "play outs", "ball."):
        settings, tally, plain = GenerationSettings(50, stop=(stop,)), Tally(), Tally()
        text = "".join(stream_continuation(drafted, [1], settings, tally))
        assert text == "".join(stream_continuation(stories, [1], settings, plain))
        assert stop not in text and tally.tokens == plain.tokens


def test_a_draft_that_is_the_model_itself_is_always_right(stories: TextModel, stories_folder: Path) -> None:
    tally = Tally()
    drafted = with_draft(stories, stories_folder, 3)
    text = stream_continuation(drafted, [1], GenerationSettings(40), tally)
    assert len("".join(text)) > 0
    assert tally.tokens == 40 and tally.passes == 10
    assert tally.accepted == tally.proposed == 30 or tally.proposed - tally.accepted <= 1
    assert "100%" in summary(tally, True) and "4.00 tokens per forward pass" in summary(tally, True)


def test_a_comparison_makes_the_same_texts_and_measures_both(stories: TextModel, blurred: Path) -> None:
    drafted = with_draft(stories, blurred)
    found = compare(drafted, [[1], [1, 5]], GenerationSettings(10), 2)
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
    model, draft, count, temperature = tiny(1), tiny(2), 200, 1.3
    exact, of_draft = {}, {}
    for name, one in (("model", model), ("draft", draft)):
        for text in product(range(3), repeat=3):
            with torch.no_grad():
                logs = (one(torch.tensor([[1, *text]])).logits[0] / temperature).log_softmax(-1)
            likelihood = float(sum(logs[place, token] for place, token in enumerate(text)).exp())
            (exact if name == "model" else of_draft)["".join(map(str, text))] = likelihood
    assert sum(exact.values()) == pytest.approx(1.0, abs=1e-5)
    torch.manual_seed(0)
    lm = TextModel(model, Ids(), draft)
    tally, seen = Tally(), Counter[str]()
    settings = GenerationSettings(3, temperature=temperature)
    for _ in range(count):
        seen["".join(stream_pieces(lm, [1], settings, TextPieces(Ids(), []), tally))] += 1
    assert 0.3 < tally.accepted / tally.proposed < 0.95

    def distance(likelihoods: dict[str, float]) -> float:
        return sum((seen[text] - count * p) ** 2 / (count * p) for text, p in likelihoods.items())

    assert distance(exact) < 54.1  # 26 degrees of freedom: exceeded once in a thousand
    assert distance(of_draft) > 100


def test_a_draft_with_another_vocabulary_is_refused(
    stories: TextModel, talker_folder: Path, stories_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"its vocabulary has \d+ ids, the model's 512; they must be equal"):
        with_draft(stories, talker_folder)
    model, swapped = load_model(str(stories_folder))
    swapped.get_vocab = lambda: stories.tokenizer.get_vocab() | {"a": 7, "b": 8}
    monkeypatch.setattr(speculation, "load_model", lambda folder: (model, swapped))
    with pytest.raises(ConfigError, match="its vocabulary differs: 'a' is 7 in the draft and "):
        with_draft(stories, stories_folder)
