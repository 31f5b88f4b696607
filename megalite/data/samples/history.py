"""The data that a run has read so far, as saved in a checkpoint; a resumed run must agree with it."""

from collections.abc import Mapping
from typing import Any

from megalite.config.errors import ConfigError
from megalite.config.mix import mix_phases
from megalite.config.schema import RunConfig

Mix = list[dict[str, Any]]


def mix_record(config: RunConfig) -> Mix:
    """The phases of the run's mix, with sources by their prefixes, without those that a phase does not read."""
    data = config.data
    return [
        {
            "first_sample": phase.first_sample,
            "weights": {
                source.prefix: weight for source, weight in zip(data.train, phase.weights, strict=True) if weight
            },
        }
        for phase in mix_phases(data, config.batch, config.training.steps)
    ]


def refuse_other_history(
    where: object,
    consumed_samples: int,
    saved: tuple[Mix, Mapping[str, str]],
    asked: tuple[Mix, Mapping[str, str]],
) -> None:
    """Refuse a mix with other samples so far than those that were read; later phases may change.

    Sources are compared by content, not by name. Sources that were not read yet may be added and removed.

    Args:
        saved: mix of the interrupted run, and prefix -> checksum of its ``.bin``.
        asked: both of the run that resumes it.

    Raises: ConfigError that starts with ``where``.
    """
    before, now = (_read_so_far(mix, consumed_samples) for mix, _ in (saved, asked))
    if _contents(before, saved[1]) != _contents(now, asked[1]):
        told, names = (_told(before), _told(now)), ", ".join(_names(before))
        other = (
            f"this config would have read {told[1]}" if told[0] != told[1] else f"the contents of {names} differ now"
        )
        raise ConfigError(
            f"{where}: its {consumed_samples:,} samples so far were {told[0]}; {other}. Keep what was read as it was, and "
            f"give new weights in a phase of data.phases that begins later; or start a new run"
        )


def _read_so_far(mix: Mix, consumed: int) -> Mix:
    return [phase for phase in mix if phase["first_sample"] < consumed]


def _contents(mix: Mix, checksums: Mapping[str, str]) -> list[tuple[int, list[tuple[str, int]]]]:
    return [
        (phase["first_sample"], [(checksums[prefix], weight) for prefix, weight in phase["weights"].items()])
        for phase in mix
    ]


def _names(mix: Mix) -> list[str]:
    return list(dict.fromkeys(prefix for phase in mix for prefix in phase["weights"]))


def _told(mix: Mix) -> str:
    """``2 web : 1 math, from sample 4,000 on 1 math``."""
    parts = []
    for phase in mix:
        weights = " : ".join(f"{weight} {prefix}" for prefix, weight in phase["weights"].items())
        parts.append(f"from sample {phase['first_sample']:,} on {weights}" if phase["first_sample"] else weights)
    return ", ".join(parts)
