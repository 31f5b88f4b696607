"""Speculative decoding: loads a draft, and measures how many proposed tokens are accepted and what that gains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from megalite.config.errors import ConfigError
from megalite.generation.continuation import stream_continuation
from megalite.generation.settings import GenerationSettings
from megalite.generation.stream import Tally
from megalite.generation.text_model import TextModel
from megalite.huggingface.load import load_model

DRAFT_TOKENS = 3
"""Tokens proposed at once. transformers' default of 20, shortened by a confidence threshold that it refits after every
pass, was slower in every case measured."""


@dataclass(frozen=True)
class Comparison:
    """The same prompts with and without proposals."""

    speed_up: float
    """Tokens per second with proposals, divided by those without; median of the rounds."""
    rounds: int
    same_texts: bool


def load_draft(folder: str, model: Any, tokenizer: Any, tokens: int = DRAFT_TOKENS) -> Any:
    """A model that proposes at most ``tokens`` tokens at once for ``model``.

    Raises: ConfigError if the vocabularies differ; DataError, FileNotFoundError if it cannot be loaded.
    """
    draft, draft_tokenizer = load_model(folder)
    _check_same_vocabulary(folder, draft, draft_tokenizer, model, tokenizer)
    draft.generation_config.num_assistant_tokens = tokens
    draft.generation_config.num_assistant_tokens_schedule = "constant"
    draft.generation_config.assistant_confidence_threshold = 0.0
    return draft


def _check_same_vocabulary(folder: str, draft: Any, draft_tokenizer: Any, model: Any, tokenizer: Any) -> None:
    size, needed = draft.config.get_text_config().vocab_size, model.config.get_text_config().vocab_size
    if size != needed:
        raise ConfigError(
            f"--draft {folder}: its vocabulary has {size:,} ids, the model's {needed:,}; they must be equal"
        )
    draft_ids, ids = draft_tokenizer.get_vocab(), tokenizer.get_vocab()
    for token in sorted(ids.keys() | draft_ids.keys()):
        if ids.get(token) != draft_ids.get(token):
            raise ConfigError(
                f"--draft {folder}: its vocabulary differs: {token!r} is {draft_ids.get(token, 'missing')} in the draft "
                f"and {ids.get(token, 'missing')} in the model"
            )


def compare(lm: TextModel, prompts: Sequence[Sequence[int]], settings: GenerationSettings, rounds: int) -> Comparison:
    """Generate every text without and with proposals, ``rounds`` times."""
    plain_lm, plain_settings = replace(lm, draft=None), replace(settings, prompt_lookup=0)
    ratios, same = [], True
    for _ in range(rounds):
        without, with_proposals = Tally(), Tally()
        for prompt in prompts:
            plain = "".join(stream_continuation(plain_lm, prompt, plain_settings, without))
            same &= plain == "".join(stream_continuation(lm, prompt, settings, with_proposals))
        ratios.append(_speed(with_proposals) / _speed(without))
    return Comparison(median(ratios), rounds, same)


def _speed(tally: Tally) -> float:
    """Tokens per second."""
    return tally.tokens / tally.seconds if tally.seconds else 0.0


def summary(tally: Tally, proposals: bool) -> str:
    """The counts in one line."""
    line = f"{tally.tokens:,} tokens in {tally.seconds:.2f} s, {_speed(tally):,.1f} per second"
    if proposals:
        share = f"{tally.accepted / tally.proposed:.0%}" if tally.proposed else "none"
        per_pass = tally.tokens / tally.passes if tally.passes else 0.0
        line += (
            f"; {tally.accepted:,} of {tally.proposed:,} proposed tokens accepted ({share}), "
            f"{per_pass:.2f} tokens per forward pass"
        )
    return line


def comparison_line(comparison: Comparison, greedy: bool) -> str:
    """The gain from proposals in one line."""
    texts = ("; same text" if comparison.same_texts else "; TEXT DIFFERS") if greedy else ""
    return (
        f"{comparison.speed_up:.2f} times as fast as without proposals, median of {comparison.rounds} round(s){texts}"
    )
