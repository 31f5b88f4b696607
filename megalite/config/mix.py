"""From which sample of a run on its data is mixed by which weights: whole numbers, exact for any length of run."""

import difflib
import math
from dataclasses import dataclass
from fractions import Fraction

from megalite.config.errors import ConfigError
from megalite.config.schema import BatchSection, DataSection, RunConfig


@dataclass(frozen=True)
class MixStage:
    """Weights that hold from a sample on."""

    first_sample: int
    weights: tuple[int, ...]
    """Of every source in the order of ``data.train``, without a common divisor; 0 where the stage does not read it."""


def mix_stages(data: DataSection, batch: BatchSection, steps: int) -> tuple[MixStage, ...]:
    """The stages of a run of ``steps``: the weights in ``data.train``, then those of ``data.stages``."""
    stages = [MixStage(0, _whole([source.weight for source in data.train]))]
    for stage in data.stages:
        weights = [stage.weights.get(source.prefix, 0.0) for source in data.train]
        stages.append(MixStage(first_step(stage.begin, steps) * batch.global_batch_size, _whole(weights)))
    return tuple(stages)


def first_step(begin: float, steps: int) -> int:
    """Steps done when a stage begins: ``begin`` itself from 1 on, else so much of ``steps``."""
    return int(begin) if begin >= 1 else round(begin * steps)


def check_mix(config: RunConfig, source: str) -> None:
    """Refuse sources and stages that contradict each other. Raises: ConfigError naming ``source``."""
    data, steps = config.data, config.training.steps
    prefixes = [item.prefix for item in data.train]
    if twice := next((prefix for prefix in prefixes if prefixes.count(prefix) > 1), None):
        raise ConfigError(f"{source}: data.train names {twice} twice; name it once, with the sum of the weights")
    if not any(item.weight for item in data.train):
        raise ConfigError(f"{source}: data.train gives every source the weight 0; one of them must begin")
    before = 0
    for number, stage in enumerate(data.stages):
        where, begin = f"{source}: data.stages[{number}]", first_step(stage.begin, steps)
        for prefix in stage.weights:
            if prefix not in prefixes:
                near = difflib.get_close_matches(prefix, prefixes, n=1)
                meant = f"; did you mean '{near[0]}'?" if near else "; add it there, with weight 0 until then"
                raise ConfigError(f"{where}.weights: {prefix} is not in data.train{meant}")
        if not any(stage.weights.values()):
            raise ConfigError(f"{where}.weights: no source has a weight above 0; one must be read")
        if not before < begin < steps:
            raise ConfigError(
                f"{where}.begin={stage.begin:g} is step {begin:,} of {steps:,}; a stage begins after the one before "
                f"(step {before:,}) and before the last step"
            )
        before = begin
    for item in data.train:
        if not item.weight and not any(stage.weights.get(item.prefix) for stage in data.stages):
            raise ConfigError(f"{source}: data.train: {item.prefix} has weight 0 in every stage; remove it")


def _whole(weights: list[float]) -> tuple[int, ...]:
    """The same weights as the smallest whole numbers; ``0.7`` is seven tenths, not the binary number beside it."""
    exact = [Fraction(str(weight)) for weight in weights]
    whole = [int(weight * math.lcm(*(weight.denominator for weight in exact))) for weight in exact]
    return tuple(weight // (math.gcd(*whole) or 1) for weight in whole)
