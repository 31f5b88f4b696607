"""Decoding with proposals: a draft that fits, how many of its tokens were accepted, and what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from megalite.config.errors import ConfigError
from megalite.generation.continuation import stream_continuation
from megalite.generation.piece_stream import Tally
from megalite.generation.settings import GenerationSettings
from megalite.huggingface.load import load_model

DRAFT_TOKENS = 3
"""At once: what a small model gets accepted before it errs. transformers' own 20, cut short by a confidence that it fits
anew after every pass, was slower in every case measured."""


@dataclass(frozen=True)
class Comparison:
    """The same prompts with proposals and without, in turns."""

    speed_up: float
    """Tokens per second with, over those without; the median of the rounds."""
    rounds: int
    same_texts: bool


def load_draft(folder: str, model: Any, tokenizer: Any, tokens: int = DRAFT_TOKENS) -> Any:
    """A model that proposes tokens for ``model``.

    Args:
        tokens: proposed at once, at most.

    Raises: ConfigError where the vocabularies differ; DataError, FileNotFoundError where it cannot be loaded.
    """
    draft, its_tokenizer = load_model(folder)
    check_same_vocabulary(folder, draft, its_tokenizer, model, tokenizer)
    draft.generation_config.num_assistant_tokens = tokens
    draft.generation_config.num_assistant_tokens_schedule = "constant"
    draft.generation_config.assistant_confidence_threshold = 0.0
    return draft


def check_same_vocabulary(folder: str, draft: Any, its_tokenizer: Any, model: Any, tokenizer: Any) -> None:
    """Refuse a draft whose ids mean something else. Raises: ConfigError."""
    size, needed = draft.config.get_text_config().vocab_size, model.config.get_text_config().vocab_size
    if size != needed:
        raise ConfigError(
            f"--draft {folder}: has a vocabulary of {size:,}, the model one of {needed:,}; they must be the same"
        )
    its_ids, ids = its_tokenizer.get_vocab(), tokenizer.get_vocab()
    for token in sorted(ids.keys() | its_ids.keys()):
        if ids.get(token) != its_ids.get(token):
            raise ConfigError(
                f"--draft {folder}: has another vocabulary: {token!r} is {its_ids.get(token, 'not in it')} in "
                f"the draft, and {ids.get(token, 'not in it')} in the model"
            )


def compare(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    draft: Any | None,
    rounds: int,
) -> Comparison:
    """Make every text without proposals and with them, ``rounds`` times."""
    plainly = replace(settings, prompt_lookup=0)
    ratios, same = [], True
    for _ in range(rounds):
        without, with_proposals = Tally(), Tally()
        for prompt in prompts:
            plain = "".join(stream_continuation(model, tokenizer, prompt, plainly, None, without))
            same &= plain == "".join(stream_continuation(model, tokenizer, prompt, settings, draft, with_proposals))
        ratios.append(speed(with_proposals) / speed(without))
    return Comparison(median(ratios), rounds, same)


def speed(tally: Tally) -> float:
    """Tokens a second."""
    return tally.tokens / tally.seconds if tally.seconds else 0.0


def summary(tally: Tally, proposals: bool) -> str:
    """The counts in a line."""
    line = f"{tally.tokens:,} tokens in {tally.seconds:.2f} s, {speed(tally):,.1f} a second"
    if proposals:
        share = f"{tally.accepted / tally.proposed:.0%}" if tally.proposed else "none"
        a_pass = tally.tokens / tally.passes if tally.passes else 0.0
        line += (
            f"; {tally.accepted:,} of {tally.proposed:,} proposed tokens accepted ({share}), "
            f"{a_pass:.2f} tokens a pass of the model"
        )
    return line


def comparison_line(comparison: Comparison, greedy: bool) -> str:
    """What the proposals are worth, in a line."""
    texts = ("; the same text" if comparison.same_texts else "; ANOTHER TEXT") if greedy else ""
    return (
        f"{comparison.speed_up:.2f} times the speed without proposals, same prompt, "
        f"{comparison.rounds} round(s) of both{texts}"
    )
