"""How a text is made: how tokens are chosen, when it ends, and where keys and values are kept."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from megalite.config.command_line import MOST, real_number, whole_number
from megalite.config.errors import ConfigError, DataError

Rule = tuple[str, str, Callable[[Any], bool]]
RULES: tuple[Rule, ...] = (
    ("max_new_tokens", "at least 1", lambda value: value >= 1),
    ("temperature", "0 (greedy), or 0.001 to 1000", lambda value: value == 0 or 0.001 <= value <= 1000),
    ("top_p", "more than 0 and at most 1; 1 is all tokens", lambda value: 0 < value <= 1),
    ("top_k", "0 (all tokens) or more", lambda value: value >= 0),
    ("min_p", "0 (all tokens) to 1", lambda value: 0 <= value <= 1),
    ("repetition_penalty", "0.01 to 100; 1 is none", lambda value: 0.01 <= value <= 100),
    ("seed", "a number from 0 to 2^64 - 1", lambda value: value is None or 0 <= value < 2**64),
    ("stop", "a string that is not empty", lambda value: all(value)),
)

MOST_PROPOSED = 1000
"""Tokens at once, by a draft or the prompt look-up."""


@dataclass(frozen=True)
class GenerationSettings:
    """Everything that decides a text beside model and prompt. The defaults are greedy."""

    max_new_tokens: int = 100
    temperature: float = 0.0
    """0 takes the most likely token; the four below are then of no effect, the penalty excepted."""
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    """Drops tokens less likely than this share of the likeliest one's probability."""
    repetition_penalty: float = 1.0
    seed: int | None = None
    """None goes on with PyTorch's generator as it stands."""
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""
    cache: str = "dynamic"
    """One of ``kv_cache.CACHES``."""
    prompt_lookup: int = 0
    """Tokens proposed at once from the text so far; 0 is without."""

    def check(self) -> None:
        """Raises: ConfigError where a value cannot be."""
        for name, allowed, holds in RULES:
            if not holds(getattr(self, name)):
                raise ConfigError(f"--{name} {_shown(getattr(self, name))}: give {allowed}")
        if not 0 <= self.prompt_lookup <= MOST_PROPOSED:
            raise ConfigError(f"--prompt_lookup {self.prompt_lookup}: give 0 (without) to {MOST_PROPOSED}")

    def keywords(self) -> dict[str, Any]:
        """What ``generate`` takes. All is said, so that no default of a model's own changes the text."""
        chosen: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "repetition_penalty": self.repetition_penalty,
            "num_beams": 1,
            "do_sample": self.temperature > 0,
        }
        if self.temperature > 0:
            chosen |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}
        return chosen


def use_own_tokens_only(model: Any) -> None:
    """Leave nothing of a model's generation config but its special ids: stop strings, penalties and the like go."""
    from transformers import GenerationConfig

    own = model.generation_config
    ids = {name: getattr(own, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ids)


def sound_scores() -> Any:
    """The ``logits_processor`` that stops where a model gives no numbers; raises DataError."""
    from transformers import LogitsProcessor, LogitsProcessorList

    class Sound(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            if scores.isnan().any():
                raise DataError("the model's output is not a number; its weights or its config are damaged")
            return scores

    return LogitsProcessorList([Sound()])


def add_generation_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """The command line's form of the settings; ``defaults`` where a command has others."""
    default = GenerationSettings(**defaults)
    group = parser.add_argument_group("how tokens are chosen")
    group.add_argument("--max_new_tokens", type=whole_number(-MOST), default=default.max_new_tokens)
    group.add_argument("--temperature", type=real_number(), default=default.temperature, help="0 is greedy")
    group.add_argument("--top_p", type=real_number(), default=default.top_p, help="the likeliest tokens of this total")
    group.add_argument(
        "--top_k", type=whole_number(-MOST), default=default.top_k, help="the K likeliest tokens; 0 is all"
    )
    group.add_argument(
        "--min_p", type=real_number(), default=default.min_p, help="a share of the likeliest's probability"
    )
    group.add_argument("--repetition_penalty", type=real_number(), default=default.repetition_penalty)
    group.add_argument(
        "--seed", type=whole_number(-MOST, 2**64 - 1), default=default.seed if default.seed is not None else 0
    )
    group.add_argument("--stop", nargs="+", default=(), metavar="TEXT", help="the text ends before any of these")


def settings_from(arguments: argparse.Namespace) -> GenerationSettings:
    """The settings of a parsed command line, checked. Raises: ConfigError."""
    given = {
        field.name: getattr(arguments, field.name) for field in fields(GenerationSettings) if field.name in arguments
    }
    settings = GenerationSettings(**given | {"stop": tuple(given["stop"])})
    settings.check()
    return settings


def _shown(value: Any) -> str:
    return " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)
