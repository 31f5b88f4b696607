"""A keyed permutation of ``0..n-1`` without a table: a Feistel network with cycle walking."""

import hashlib

ROUNDS = 6
_MASK = (1 << 64) - 1


class KeyedPermutation:
    """``self[i]`` for any ``i < n`` in constant time and no memory.

    A balanced Feistel network (Luby & Rackoff 1988) permutes the smallest ``2^(2b) >= n``; a value that falls outside
    ``0..n-1`` is permuted again until it falls inside (cycle walking, Black & Rogaway 2002), at most four times on
    average, because ``2^(2b) < 4 n``.
    """

    def __init__(self, size: int, *key: int) -> None:
        """``key``: any integers; another key is another order."""
        self.size = size
        self._half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._half_mask = (1 << self._half_bits) - 1
        digest = hashlib.sha256(",".join(map(str, key)).encode()).digest() + hashlib.sha256(repr(key).encode()).digest()
        self._round_keys = [int.from_bytes(digest[8 * r : 8 * r + 8], "little") for r in range(ROUNDS)]

    def __getitem__(self, index: int) -> int:
        """Where ``index`` goes. Raises: IndexError outside ``0..n-1``."""
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in 0..{self.size - 1}")
        value = self._once(index)
        while value >= self.size:
            value = self._once(value)
        return value

    def _once(self, value: int) -> int:
        left, right = value >> self._half_bits, value & self._half_mask
        for key in self._round_keys:
            left, right = right, left ^ (_mix(right ^ key) & self._half_mask)
        return left << self._half_bits | right


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)
