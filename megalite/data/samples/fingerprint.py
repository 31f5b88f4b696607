"""A number that tells whether two runs read the same samples in the same order, whatever their layouts."""

import functools
import hashlib

import numpy as np

from megalite.data.samples.blend import BlendedDataset
from megalite.data.samples.gpt_dataset import GPTDataset

BITS = 40
MODULUS = 1 << BITS
"""Sums of so many bits from a million ranks still fit an int64."""


def sample_fingerprint(number: int, tokens: np.ndarray) -> int:
    """Of one global sample: its number and its tokens. Fingerprints of many samples are added modulo 2^40.

    The tokens count by a multilinear hash modulo 2^64 (Carter & Wegman 1979): an eighth of the time of a digest of them.
    """
    product = int(np.dot(tokens.view(np.uint64), _factors(len(tokens))))
    digest = hashlib.blake2b(b"%d %d" % (number, product), digest_size=BITS // 8)
    return int.from_bytes(digest.digest(), "little")


@functools.cache
def _factors(count: int) -> np.ndarray:
    """Odd numbers drawn once and for all."""
    return np.random.PCG64(0).random_raw(count) | np.uint64(1)


def samples_fingerprint(dataset: GPTDataset | BlendedDataset, first: int, count: int) -> int:
    """Of global samples ``first .. first + count - 1``."""
    return sum(sample_fingerprint(number, dataset[number]) for number in range(first, first + count)) % MODULUS
