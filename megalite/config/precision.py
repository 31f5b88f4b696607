"""The precision of a run; ``megalite.training.precision`` resolves ``auto`` on a machine."""

from typing import Any, Literal, TypeVar

from megalite.config.section import Section

Precision = Literal["auto", "fp32", "bf16"]
C = TypeVar("C", bound=Section)


def with_precision(config: C, precision: str) -> C:
    """Returns ``config``, which has a ``training`` section, with ``training.precision`` set."""
    training: Any = getattr(config, "training")  # noqa: B009
    return config.model_copy(update={"training": training.model_copy(update={"precision": precision})})
