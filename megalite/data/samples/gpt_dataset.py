"""Training samples as windows of an endless token stream; sample g is a pure function of (files, seed, g)."""

import numpy as np

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.data.indexed import IndexedDataset
from megalite.data.samples.permutation import KeyedPermutation

LONGEST_SEQUENCE = 1 << 24
MOST_REPEATS = 1000
"""Limit for the epochs within one sample."""


class GPTDataset:
    """``dataset[g]`` is the ``(S+1,)`` int64 window of global sample number ``g >= 0``. Nothing is built or stored.

    The corpus has N tokens. Epoch e reads all of them once, starting at a document drawn by (seed, e) and wrapping
    around at the end of the file; consecutive epochs form an endless stream. Window k contains the stream's tokens
    ``k*S - 1 .. k*S + S - 1``: its S labels are tokens ``k*S .. k*S + S - 1``. So labels tile the stream, and every token
    of the corpus is a label exactly once in each N labels; if S divides N, exactly once in the windows of an epoch. (The
    very first input is the last token of a document, as if an epoch came before.) Epoch e consists of the windows whose
    labels begin in it, ``ceil(e*N/S) <= k < ceil((e+1)*N/S)``, in an order drawn by (seed, e).
    """

    def __init__(self, prefix: str, sequence_length: int, seed: int) -> None:
        """Open ``prefix``. Raises: DataError, also if the corpus is empty or far shorter than a sample."""
        self.source = IndexedDataset(prefix)
        self.tokens = self.source.num_tokens
        if self.tokens == 0:
            raise DataError(f"{prefix}: contains no token; preprocess a corpus that has text")
        longest = min(LONGEST_SEQUENCE, self.tokens * MOST_REPEATS)
        if not 1 <= sequence_length <= longest:
            raise DataError(
                f"{prefix}: a sequence length of {sequence_length:,} is not in 1..{longest:,}, with {self.tokens:,} tokens"
            )
        self.sequence_length, self.seed = sequence_length, seed
        self._epoch_order: tuple[int, int, KeyedPermutation] | None = None
        self._epoch_start: tuple[int, int] | None = None

    def __getitem__(self, sample: int) -> np.ndarray:
        """Tokens of global sample ``sample``."""
        return self.window(self.window_number(sample))

    def window_number(self, sample: int) -> int:
        """The window of the stream for a global sample."""
        epoch = sample * self.sequence_length // self.tokens
        if self._epoch_order is None or self._epoch_order[0] != epoch:
            first = self.first_window(epoch)
            order = KeyedPermutation(self.first_window(epoch + 1) - first, self.seed, epoch)
            self._epoch_order = (epoch, first, order)
        _, first, order = self._epoch_order
        return first + order[sample - first]

    def first_window(self, epoch: int) -> int:
        """The first window whose labels begin in ``epoch``."""
        return -(-epoch * self.tokens // self.sequence_length)

    def window(self, number: int) -> np.ndarray:
        """``(S+1,)`` tokens of window ``number`` of the stream."""
        pieces = [self.source.read(at, count) for at, count in self.stretches(number, self.sequence_length + 1)]
        return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces)).astype(np.int64)

    def positions(self, sample: int) -> np.ndarray:
        """``(S,)`` positions of the sample's inputs, each counted from the start of its document or of the sample."""
        pieces = self.stretches(self.window_number(sample), self.sequence_length)
        return np.concatenate([self.source.positions(at, count) for at, count in pieces])

    def stretches(self, number: int, wanted: int) -> list[tuple[int, int]]:
        """The first ``wanted`` tokens of a window as ranges ``(first token, count)`` of the file.

        A range ends with the file or an epoch; the next one starts with a document.
        """
        position, pieces = number * self.sequence_length - 1, []
        while wanted:
            epoch, inside = divmod(position, self.tokens)
            at = (self._start_of(epoch) + inside) % self.tokens
            count = min(wanted, self.tokens - inside, self.tokens - at)
            pieces.append((at, count))
            position, wanted = position + count, wanted - count
        return pieces

    def _start_of(self, epoch: int) -> int:
        """First token of the document with which ``epoch`` starts."""
        if self._epoch_start is None or self._epoch_start[0] != epoch:
            documents = self.source.num_documents
            start = self.source.document_range(KeyedPermutation(documents, self.seed, epoch, -1)[0])[0] % self.tokens
            self._epoch_start = (epoch, start)
        return self._epoch_start[1]


class SequentialDataset:
    """The corpus once, in order: ``(input_ids, labels)`` of S each; labels past the end are -100.

    Every token except the first is a label exactly once.
    """

    def __init__(self, prefix: str, sequence_length: int) -> None:
        """Open ``prefix``. Raises: DataError, also if it has fewer than two tokens."""
        self.source = IndexedDataset(prefix)
        self.sequence_length = sequence_length
        if self.source.num_tokens < 2:
            raise DataError(f"{prefix}: contains {self.source.num_tokens} tokens; validation needs at least 2")

    def __len__(self) -> int:
        """Number of samples, the padded last one included."""
        return -(-(self.source.num_tokens - 1) // self.sequence_length)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample ``number``; inputs past the end are token 0."""
        start = number * self.sequence_length
        count = min(self.sequence_length + 1, self.source.num_tokens - start)
        tokens = self.source.read(start, count).astype(np.int64)
        missing = self.sequence_length + 1 - count
        inputs = np.pad(tokens[: count - 1], (0, missing))
        return inputs, np.pad(tokens[1:], (0, missing), constant_values=IGNORE)

    def positions(self, number: int) -> np.ndarray:
        """``(S,)`` positions of the sample's inputs, each counted from the start of its document or of the sample."""
        start = number * self.sequence_length
        count = min(self.sequence_length, self.source.num_tokens - start)
        found = self.source.positions(start, count)
        return np.pad(found, (0, self.sequence_length - count))  # each padding token is a document of its own
