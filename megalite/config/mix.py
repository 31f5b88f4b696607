"""The phases of a run's data mix: from which sample on which weights apply, in exact whole numbers."""

import math
from dataclasses import dataclass
from fractions import Fraction

from megalite.config.errors import ConfigError
from megalite.config.schema import BatchSection, DataSection, RunConfig
from megalite.config.suggest import suggestion


@dataclass(frozen=True)
class MixPhase:
    """Weights that apply from ``first_sample`` on."""

    first_sample: int
    weights: tuple[int, ...]
    """One for each source in ``data.train``, without a common divisor; 0 if the phase does not read the source."""


def mix_phases(data: DataSection, batch: BatchSection, steps: int) -> tuple[MixPhase, ...]:
    """Returns the phases of a run of ``steps``: the weights in ``data.train``, then those of ``data.phases``."""
    phases = [MixPhase(0, _whole([source.weight for source in data.train]))]
    for phase in data.phases:
        weights = [phase.weights.get(source.prefix, 0.0) for source in data.train]
        phases.append(MixPhase(first_step(phase.begin, steps) * batch.global_batch_size, _whole(weights)))
    return tuple(phases)


def first_step(begin: float, steps: int) -> int:
    """Returns the optimizer steps before a phase: ``begin`` itself if it is 1 or more, else that fraction of ``steps``."""
    return int(begin) if begin >= 1 else round(begin * steps)


def check_mix(config: RunConfig, source: str) -> None:
    """Raises: ConfigError naming ``source`` if sources and phases contradict each other."""
    data, steps = config.data, config.training.steps
    prefixes = [item.prefix for item in data.train]
    if twice := next((prefix for prefix in prefixes if prefixes.count(prefix) > 1), None):
        raise ConfigError(f"{source}: data.train lists {twice} twice; list it once, with the sum of the weights")
    if not any(item.weight for item in data.train):
        raise ConfigError(f"{source}: data.train gives every source weight 0; give at least one a weight above 0")
    before = 0
    for number, phase in enumerate(data.phases):
        where, begin = f"{source}: data.phases[{number}]", first_step(phase.begin, steps)
        for prefix in phase.weights:
            if prefix not in prefixes:
                hint = suggestion(prefix, prefixes, "add it there, with weight 0")
                raise ConfigError(f"{where}.weights: {prefix} is not in data.train; {hint}")
        if not any(phase.weights.values()):
            raise ConfigError(f"{where}.weights: no source has a weight above 0; give at least one a weight above 0")
        if not before < begin < steps:
            raise ConfigError(
                f"{where}.begin={phase.begin:g} is step {begin:,} of {steps:,}; a phase must begin after the previous one "
                f"(step {before:,}) and before the last step"
            )
        before = begin
    for item in data.train:
        if not item.weight and not any(phase.weights.get(item.prefix) for phase in data.phases):
            raise ConfigError(f"{source}: data.train: {item.prefix} has weight 0 in every phase; remove it")


def _whole(weights: list[float]) -> tuple[int, ...]:
    """The same ratios as the smallest whole numbers; ``0.7`` is exactly seven tenths, not its nearest binary fraction."""
    exact = [Fraction(str(weight)) for weight in weights]
    whole = [int(weight * math.lcm(*(weight.denominator for weight in exact))) for weight in exact]
    return tuple(weight // (math.gcd(*whole) or 1) for weight in whole)
