"""The files to sample from and their weights: globs, or a YAML file of sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, PositiveFloat

from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.load import read_yaml
from megalite.config.section import Section
from megalite.files.readers.input_files import expand_inputs


class MixSource(Section):
    """One source of the training text."""

    name: str | None = None
    """Name in the report; null is the first glob."""
    input: tuple[str, ...] = Field(min_length=1)
    """Files or globs, relative to the current folder."""
    weight: PositiveFloat = 1.0
    """Share of the bytes of the sample, relative to the other sources."""


class Mix(Section):
    """The text that a tokenizer is trained on."""

    sources: tuple[MixSource, ...] = Field(min_length=1)
    """Sources with their weights."""


@dataclass(frozen=True)
class Source:
    """Files with one weight."""

    name: str
    paths: tuple[Path, ...]
    weight: float


def sources_of(inputs: Sequence[str], weights: Sequence[float] | None) -> list[Source]:
    """Return one source for each glob with its weight; without weights, one source with all files.

    Raises: ConfigError if the numbers differ or a weight is not positive; FileNotFoundError; DataError.
    """
    if weights is None:
        return [Source("all", tuple(expand_inputs(inputs)), 1.0)]
    if len(weights) != len(inputs):
        raise ConfigError(f"--weights: {len(weights)} for {len(inputs)} inputs; give one weight for each --input")
    if bad := [weight for weight in weights if not 0.0 < weight < float("inf")]:
        raise ConfigError(f"--weights {bad[0]}: must be a positive number; leave out the input instead")
    return _distinct([Source(p, tuple(expand_inputs([p])), w) for p, w in zip(inputs, weights, strict=True)])


def sources_of_mix(path: Path) -> list[Source]:
    """Return the sources of a mix file. Raises: ConfigError, FileNotFoundError, DataError."""
    mix = validate(Mix, read_yaml(path), str(path))
    return _distinct(
        [Source(each.name or each.input[0], tuple(expand_inputs(each.input)), each.weight) for each in mix.sources]
    )


def _distinct(sources: list[Source]) -> list[Source]:
    """Return the sources. Raises: ConfigError if two of them share a name or a file, so that its weight is ambiguous."""
    names, holders = set[str](), dict[Path, str]()
    for source in sources:
        if source.name in names:
            raise ConfigError(f"source '{source.name}': given twice; give it once, with the sum of the weights")
        names.add(source.name)
        for path in source.paths:
            if (other := holders.setdefault(path.resolve(), source.name)) != source.name:
                raise ConfigError(f"{path}: is in '{other}' and in '{source.name}'; remove it from one of them")
    return sources
