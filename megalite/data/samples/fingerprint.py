"""A number that is equal for runs with the same samples in the same order, in any layout."""

import functools
import hashlib

import numpy as np

from megalite.data.samples.blend import BlendedDataset
from megalite.data.samples.gpt_dataset import GPTDataset

BITS = 40
MODULUS = 1 << BITS
"""Sums of numbers of so many bits over a million ranks fit an int64."""


def sample_fingerprint(number: int, tokens: np.ndarray) -> int:
    """The fingerprint of the number and the tokens of a global sample; those of several samples are added modulo 2^40.

    Tokens are hashed by a multilinear hash modulo 2^64 (Carter & Wegman 1979), eight times as fast as a digest.
    """
    product = int(np.dot(tokens.view(np.uint64), _factors(len(tokens))))
    digest = hashlib.blake2b(b"%d %d" % (number, product), digest_size=BITS // 8)
    return int.from_bytes(digest.digest(), "little")


@functools.cache
def _factors(count: int) -> np.ndarray:
    """Fixed pseudo-random odd numbers."""
    return np.random.PCG64(0).random_raw(count) | np.uint64(1)


def samples_fingerprint(dataset: GPTDataset | BlendedDataset, first: int, count: int) -> int:
    """The fingerprint of global samples ``first .. first + count - 1``."""
    return sum(sample_fingerprint(number, dataset[number]) for number in range(first, first + count)) % MODULUS
