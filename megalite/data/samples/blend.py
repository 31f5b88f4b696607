"""Several datasets in one stream of samples, mixed by weights over tokens that may change during the run."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from megalite.config.mix import MixStage, mix_stages
from megalite.config.schema import RunConfig
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.proportional import ProportionalDeal


class MixOrder:
    """Which source global sample g belongs to, and which of the source's own samples it is: a formula, nothing stored.

    Every sample has S tokens, so weights over samples are weights over tokens. Within a stage the samples are dealt by
    ``ProportionalDeal``; each stage goes on in every source where the stages before have stopped. What lies before a
    sample depends on the stages that began before it and on nothing else.
    """

    def __init__(self, stages: Sequence[MixStage]) -> None:
        """``stages``: in the order of their first samples, the first of which is 0."""
        self._first = [stage.first_sample for stage in stages]
        self._deals = [ProportionalDeal(stage.weights) for stage in stages]
        self._before = [[0] * len(stages[0].weights)]
        """Of every stage: what each source has given when it begins."""
        for number, end in enumerate(self._first[1:]):
            self._before.append(self._counts(number, end))

    def locate(self, sample: int) -> tuple[int, int]:
        """``(source, sample number within the source)`` of a global sample."""
        stage = bisect_right(self._first, sample) - 1
        source, own_sample = self._deals[stage].locate(sample - self._first[stage])
        return source, self._before[stage][source] + own_sample

    def counts(self, samples: int) -> list[int]:
        """How many of the first ``samples`` each source gives."""
        return self._counts(bisect_right(self._first, samples) - 1, samples)

    def _counts(self, stage: int, samples: int) -> list[int]:
        within = self._deals[stage].counts(samples - self._first[stage])
        return [before + own for before, own in zip(self._before[stage], within, strict=True)]


class BlendedDataset:
    """``dataset[g]`` is the sample that the mix assigns to g; each source is read in its own order, epoch after epoch."""

    def __init__(self, datasets: Sequence[GPTDataset], stages: Sequence[MixStage]) -> None:
        """``stages``: with a weight for each dataset, see ``megalite.config.mix``."""
        self.datasets = list(datasets)
        self.sequence_length = datasets[0].sequence_length
        self.order = MixOrder(stages)

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
    return BlendedDataset(sets, mix_stages(data, config.batch, config.training.steps))
