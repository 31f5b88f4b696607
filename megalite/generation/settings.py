"""Generation settings: how tokens are chosen, when a text ends, and how keys and values are cached."""

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
    ("top_p", "more than 0 and at most 1; 1 keeps all tokens", lambda value: 0 < value <= 1),
    ("top_k", "0 (all tokens) or more", lambda value: value >= 0),
    ("min_p", "0 (all tokens) to 1", lambda value: 0 <= value <= 1),
    ("repetition_penalty", "0.01 to 100; 1 is off", lambda value: 0.01 <= value <= 100),
    ("seed", "a number from 0 to 2^64 - 1", lambda value: value is None or 0 <= value < 2**64),
    ("stop", "a non-empty string", lambda value: all(value)),
)

MOST_PROPOSED = 1000
"""Tokens proposed at once by prompt lookup."""


@dataclass(frozen=True)
class GenerationSettings:
    """Everything that determines a text besides model and prompt. The default is greedy decoding."""

    max_new_tokens: int = 100
    temperature: float = 0.0
    """0 selects the most likely token; ``top_p``, ``top_k`` and ``min_p`` then have no effect."""
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    """Drops tokens whose probability is below this fraction of the highest one."""
    repetition_penalty: float = 1.0
    seed: int | None = None
    """None leaves PyTorch's generator as it is."""
    stop: tuple[str, ...] = ()
    """The text ends before the first of these strings."""
    cache: str = "dynamic"
    """One of ``kv_cache.CACHES``."""
    prompt_lookup: int = 0
    """Tokens proposed at once from the text so far; 0 is off."""

    def check(self) -> None:
        """Raises: ConfigError if a value is out of range."""
        for name, allowed, holds in RULES:
            if not holds(getattr(self, name)):
                raise ConfigError(f"--{name} {_shown(getattr(self, name))}: give {allowed}")
        if not 0 <= self.prompt_lookup <= MOST_PROPOSED:
            raise ConfigError(f"--prompt_lookup {self.prompt_lookup}: give 0 (off) to {MOST_PROPOSED}")

    def keywords(self) -> dict[str, Any]:
        """Arguments of ``generate``. All are explicit, so no default of the model changes the text."""
        chosen: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "repetition_penalty": self.repetition_penalty,
            "num_beams": 1,
            "do_sample": self.temperature > 0,
        }
        if self.temperature > 0:
            chosen |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}
        return chosen


def keep_special_ids_only(model: Any) -> None:
    """Remove everything but the special ids from a model's generation config, such as stop strings and penalties."""
    from transformers import GenerationConfig

    own = model.generation_config
    ids = {name: getattr(own, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ids)


def refuse_nan_scores() -> Any:
    """A ``logits_processor`` that raises DataError if the model outputs NaN."""
    from transformers import LogitsProcessor, LogitsProcessorList

    class RefuseNaN(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            if scores.isnan().any():
                raise DataError("the model's output is not a number; its weights or config are damaged")
            return scores

    return LogitsProcessorList([RefuseNaN()])


def add_generation_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options of the settings. ``defaults`` override those of ``GenerationSettings``."""
    default = GenerationSettings(**defaults)
    group = parser.add_argument_group("generation")
    number, real = whole_number(-MOST), real_number()
    for name, kind, metavar, text in (
        ("max_new_tokens", number, "N", "maximum number of tokens to generate"),
        ("temperature", real, "T", "sampling temperature; 0 is greedy"),
        ("top_p", real, "P", "sample from the most likely tokens with this total probability"),
        ("top_k", number, "K", "sample from the K most likely tokens; 0 is all"),
        ("min_p", real, "P", "drop tokens below this fraction of the highest probability"),
        ("repetition_penalty", real, "R", "penalty on repeated tokens; 1 is off"),
        ("seed", whole_number(-MOST, 2**64 - 1), "N", "seed for sampling"),
    ):
        group.add_argument(f"--{name}", type=kind, default=getattr(default, name) or 0, metavar=metavar, help=text)
    group.add_argument("--stop", nargs="+", default=(), metavar="TEXT", help="end the text before any of these strings")


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
