"""A keyed permutation of ``0..n-1`` without a table: a Feistel network with cycle walking."""

import hashlib
import math

ROUNDS = 3
_MASK = (1 << 64) - 1


class KeyedPermutation:
    """``self[i]`` for any ``i < n`` in constant time and no memory.

    A number is split into a row and a column of a rectangle of at least n places, nearly square; each round shifts the
    column by a keyed hash of the row, then the row by one of the column: six rounds of a Feistel network (Luby & Rackoff
    1988) over any size (Black & Rogaway 2002, section 5). The rectangle has less than one row of extra places; a value
    that falls there is permuted again until it is inside (cycle walking, section 4 there).
    """

    def __init__(self, size: int, *key: int) -> None:
        """``key`` may be any integers; each key gives its own order."""
        self.size = size
        self._columns = max(1, math.isqrt(max(0, size - 1)) + 1)
        self._rows = max(1, -(-size // self._columns))
        digest = hashlib.sha512(repr(key).encode()).digest()
        keys = [int.from_bytes(digest[8 * r : 8 * r + 8], "little") for r in range(2 * ROUNDS)]
        self._round_keys = list(zip(keys[::2], keys[1::2], strict=True))

    def __getitem__(self, index: int) -> int:
        """The permuted ``index``. Raises: IndexError outside ``0..n-1``."""
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in 0..{self.size - 1}")
        rows, columns = self._rows, self._columns
        while True:
            row, column = divmod(index, columns)
            # SplitMix64's finalizer without its last shift (Steele, Lea & Flood 2014), inlined: a call costs as much.
            for row_key, column_key in self._round_keys:
                x = row ^ row_key
                x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
                column = (column + ((x ^ x >> 27) * 0x94D049BB133111EB & _MASK)) % columns
                x = column ^ column_key
                x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
                row = (row + ((x ^ x >> 27) * 0x94D049BB133111EB & _MASK)) % rows
            index = row * columns + column
            if index < self.size:
                return index
