"""Several datasets as one stream of samples, mixed by weights over tokens that may change during the run."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from megalite.config.mix import MixPhase, mix_phases
from megalite.config.schema import RunConfig
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.proportional import ProportionalDeal


class MixOrder:
    """Computes the source of global sample g and its number within the source, without a table.

    Every sample has S tokens, so weights over samples are weights over tokens. Within a phase the samples are dealt by
    ``ProportionalDeal``; each phase continues every source where the phases before have stopped. The samples before a
    given one depend only on the phases that began before it.
    """

    def __init__(self, phases: Sequence[MixPhase]) -> None:
        """``phases`` are ordered by their first samples; the first one is 0."""
        self._first = [phase.first_sample for phase in phases]
        self._deals = [ProportionalDeal(phase.weights) for phase in phases]
        self._before = [[0] * len(phases[0].weights)]
        """For each phase, the number of samples taken from each source before it."""
        for number, end in enumerate(self._first[1:]):
            self._before.append(self._counts(number, end))

    def locate(self, sample: int) -> tuple[int, int]:
        """``(source, sample number within the source)`` of a global sample."""
        phase = bisect_right(self._first, sample) - 1
        source, own_sample = self._deals[phase].locate(sample - self._first[phase])
        return source, self._before[phase][source] + own_sample

    def counts(self, samples: int) -> list[int]:
        """The number of samples of each source among the first ``samples``."""
        return self._counts(bisect_right(self._first, samples) - 1, samples)

    def _counts(self, phase: int, samples: int) -> list[int]:
        within = self._deals[phase].counts(samples - self._first[phase])
        return [before + own for before, own in zip(self._before[phase], within, strict=True)]


class BlendedDataset:
    """``dataset[g]`` is the sample that the mix assigns to g; each source is read epoch by epoch in its own order."""

    def __init__(self, datasets: Sequence[GPTDataset], phases: Sequence[MixPhase]) -> None:
        """Each of the ``phases`` has a weight for each dataset, see ``megalite.config.mix``."""
        self.datasets = list(datasets)
        self.sequence_length = datasets[0].sequence_length
        self.order = MixOrder(phases)

    def __getitem__(self, sample: int) -> np.ndarray:
        """``(S+1,)`` tokens of global sample ``sample``."""
        number, own_sample = self.order.locate(sample)
        return self.datasets[number][own_sample]

    def positions(self, sample: int) -> np.ndarray:
        """``(S,)`` positions of the inputs of global sample ``sample``."""
        number, own_sample = self.order.locate(sample)
        return self.datasets[number].positions(own_sample)


def open_blend(config: RunConfig) -> BlendedDataset:
    """The samples of a run, of one source or several. Raises: DataError or FileNotFoundError."""
    data = config.data
    sets = [GPTDataset(source.prefix, data.sequence_length, config.run.seed) for source in data.train]
    return BlendedDataset(sets, mix_phases(data, config.batch, config.training.steps))
