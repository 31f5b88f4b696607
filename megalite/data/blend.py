"""Several datasets in one stream of samples, mixed by weights over tokens."""

from collections.abc import Sequence

import numpy as np

from megalite.config.errors import ConfigError
from megalite.data.gpt_dataset import GPTDataset

PERIOD = 65_536
"""Samples after which the pattern of sources repeats; weights are exact to one part in this many."""


class BlendedDataset:
    """Sample g comes from the source that lags furthest behind its weight.

    Every sample has S tokens, so weights over samples are weights over tokens. The rule is worked out once for a period of
    65,536 samples (a few milliseconds, half a megabyte); any g is then two look-ups. After g samples each source has
    given its share of g to within less than the number of sources. Each source is read in its own order, epoch after epoch.
    """

    def __init__(self, datasets: Sequence[GPTDataset], weights: Sequence[float]) -> None:
        """``weights``: relative, at least one sample in a period each. Raises: ConfigError."""
        total = sum(weights)
        if min(weights) <= 0:
            raise ConfigError(f"blend weight {min(weights)}: weights must be above 0; remove the source instead")
        self.datasets = list(datasets)
        self.sequence_length = datasets[0].sequence_length
        self._counts = _whole_shares(np.array(weights) / total)
        if self._counts.min() == 0:
            smallest = int(np.argmin(self._counts))
            raise ConfigError(
                f"blend weight {weights[smallest] / total:.2e} of {datasets[smallest].source.prefix} is less than one "
                f"sample in {PERIOD}; raise it or remove the source"
            )
        self._source = _spread(self._counts)
        self._rank = np.empty(PERIOD, dtype=np.int64)
        for number in range(len(datasets)):
            places = self._source == number
            self._rank[places] = np.arange(places.sum())

    def __getitem__(self, sample: int) -> np.ndarray:
        """``(S+1,)`` tokens of global sample ``sample``."""
        number, own_sample = self.locate(sample)
        return self.datasets[number][own_sample]

    def positions(self, sample: int) -> np.ndarray:
        """``(S,)`` positions of the inputs of global sample ``sample``."""
        number, own_sample = self.locate(sample)
        return self.datasets[number].positions(own_sample)

    def locate(self, sample: int) -> tuple[int, int]:
        """``(source, sample number within the source)`` of a global sample."""
        periods, place = divmod(sample, PERIOD)
        number = int(self._source[place])
        return number, periods * int(self._counts[number]) + int(self._rank[place])


def _whole_shares(weights: np.ndarray) -> np.ndarray:
    """Samples of each source in a period: rounded down, the rest to the largest remainders."""
    exact = weights * PERIOD
    counts = np.floor(exact).astype(np.int64)
    for number in np.argsort(counts - exact, kind="stable")[: PERIOD - counts.sum()]:
        counts[number] += 1
    return counts


def _spread(counts: np.ndarray) -> np.ndarray:
    """Which source each place of a period belongs to: sample j of a source with c of them is due at ``(j + 1/2) / c``.

    Sorting all samples by the time they are due spreads each source evenly.
    """
    due = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    source = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return source[np.lexsort((source, due))]
