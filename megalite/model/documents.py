"""Several documents in one sample: which tokens belong together."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Documents:
    """The documents of a micro-batch; a document begins wherever a position is 0."""

    positions: Tensor
    """``(B, S)`` int64; 0 at the start of every row and of every document."""
    lengths: list[int]
    """Tokens of each document, row after row."""

    @classmethod
    def of(cls, positions: Tensor) -> Self:
        """Find the documents. On an accelerator this waits until the positions are computed."""
        starts = (positions.flatten() == 0).nonzero().flatten().tolist()
        ends = [*starts[1:], positions.numel()]
        return cls(positions, [end - start for start, end in zip(starts, ends, strict=True)])
