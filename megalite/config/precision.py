"""The word for a run's arithmetic; ``megalite.training.precision`` finds what ``auto`` is on a machine."""

from typing import Any, Literal, TypeVar

from megalite.config.section import Section

Precision = Literal["auto", "fp32", "bf16"]
C = TypeVar("C", bound=Section)


def with_precision(config: C, precision: str) -> C:
    """The same run with ``training.precision`` settled; ``config`` has a ``training`` section."""
    training: Any = getattr(config, "training")  # noqa: B009
    return config.model_copy(update={"training": training.model_copy(update={"precision": precision})})
