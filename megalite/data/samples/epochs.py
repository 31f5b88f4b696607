"""Computes before a run how often it reads each source, and refuses too many epochs."""

from collections.abc import Mapping
from dataclasses import dataclass

from megalite.config.errors import ConfigError, DataError
from megalite.config.mix import mix_phases
from megalite.config.schema import RunConfig
from megalite.data.samples.blend import MixOrder


@dataclass(frozen=True)
class SourceUse:
    """The tokens that a run of ``training.steps`` reads from one source."""

    prefix: str
    tokens: int
    """In the source."""
    taken: int
    """Tokens that the run reads, from its first step to its last."""
    most_epochs: float
    """Limit: ``max_epochs`` of the source, else of ``data``."""

    @property
    def epochs(self) -> float:
        """Number of times the source is read."""
        return self.taken / self.tokens

    def __str__(self) -> str:
        """One line, printed by ``--check`` and at the start of a run."""
        return f"{self.taken:,} of {self.tokens:,} tokens = {self.epochs:.3g} epochs"


def source_use(config: RunConfig, tokens: Mapping[str, int]) -> list[SourceUse]:
    """The use of every source in ``data.train``, exact to the token.

    Args:
        tokens: the number of tokens of each prefix.
    """
    data, batch, steps = config.data, config.batch, config.training.steps
    samples = MixOrder(mix_phases(data, batch, steps)).counts(steps * batch.global_batch_size)
    return [
        SourceUse(
            prefix=source.prefix,
            tokens=tokens[source.prefix],
            taken=count * data.sequence_length,
            most_epochs=source.max_epochs or data.max_epochs,
        )
        for source, count in zip(data.train, samples, strict=True)
    ]


def refuse_repetition(uses: list[SourceUse]) -> None:
    """Raises: ConfigError with the arithmetic if a source would be read too often; DataError if one is empty."""
    for use in uses:
        if use.tokens == 0:
            raise DataError(f"{use.prefix}: contains no token; preprocess a corpus that has text")
        if use.taken > use.most_epochs * use.tokens:
            raise ConfigError(
                f"{use.prefix}: the run reads {use.taken:,} tokens of its {use.tokens:,}, {use.epochs:.3g} epochs, and "
                f"max_epochs={use.most_epochs:g} allows {int(use.most_epochs * use.tokens):,}; lower its weight or "
                f"training.steps by a factor of {use.epochs / use.most_epochs:.2f}, add data, or allow it with "
                f"max_epochs: {_rounded_up(use.epochs)} beside its prefix or in data (beyond 4 epochs the value of "
                f"repeated data decays to zero, Muennighoff et al. 2023, arXiv:2305.16264)"
            )


def _rounded_up(epochs: float) -> int:
    return int(-(-epochs // 1))
