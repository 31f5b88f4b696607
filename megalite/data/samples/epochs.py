"""How often a run reads each of its sources, told before it starts; silent over-repetition is refused."""

from collections.abc import Mapping
from dataclasses import dataclass

from megalite.config.errors import ConfigError, DataError
from megalite.config.mix import mix_phases
from megalite.config.schema import RunConfig
from megalite.data.samples.blend import MixOrder


@dataclass(frozen=True)
class SourceUse:
    """What a run of ``training.steps`` takes from one source."""

    prefix: str
    tokens: int
    """In the source."""
    taken: int
    """By the run, from its first step to its last."""
    most_epochs: float
    """Allowed: ``max_epochs`` of the source, else of ``data``."""

    @property
    def epochs(self) -> float:
        """How often the source is read."""
        return self.taken / self.tokens

    def __str__(self) -> str:
        """One line for ``--check`` and the start of a run."""
        return f"{self.taken:,} of {self.tokens:,} tokens = {self.epochs:.3g} epochs"


def source_use(config: RunConfig, tokens: Mapping[str, int]) -> list[SourceUse]:
    """Of every source in ``data.train``, exact to the token.

    Args:
        tokens: prefix -> tokens in it.
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
    """Raises: ConfigError with the arithmetic where a source would be read too often; DataError where one is empty."""
    for use in uses:
        if use.tokens == 0:
            raise DataError(f"{use.prefix}: holds no token; preprocess a corpus with text in it")
        if use.taken > use.most_epochs * use.tokens:
            raise ConfigError(
                f"{use.prefix}: the run takes {use.taken:,} tokens of its {use.tokens:,}, {use.epochs:.3g} epochs, and "
                f"max_epochs={use.most_epochs:g} allows {int(use.most_epochs * use.tokens):,}; lower its weight or "
                f"training.steps by a factor of {use.epochs / use.most_epochs:.2f}, add data, or allow it with "
                f"max_epochs: {_rounded_up(use.epochs)} beside its prefix or in data (beyond 4 epochs the worth of "
                f"repetition decays to nothing, Muennighoff et al. 2023, arXiv:2305.16264)"
            )


def _rounded_up(epochs: float) -> int:
    return int(-(-epochs // 1))
