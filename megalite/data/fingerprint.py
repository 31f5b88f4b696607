"""A number that tells whether two runs read the same samples in the same order, whatever their layouts."""

import hashlib

import numpy as np

from megalite.data.blend import BlendedDataset
from megalite.data.gpt_dataset import GPTDataset

BITS = 40
MODULUS = 1 << BITS
"""Sums of so many bits from a million ranks still fit an int64."""


def sample_fingerprint(number: int, tokens: np.ndarray) -> int:
    """Of one global sample: its number and its tokens. Fingerprints of many samples are added modulo 2^40."""
    digest = hashlib.blake2b(np.int64(number).tobytes() + tokens.astype("<i8").tobytes(), digest_size=BITS // 8)
    return int.from_bytes(digest.digest(), "little")


def samples_fingerprint(dataset: GPTDataset | BlendedDataset, first: int, count: int) -> int:
    """Of global samples ``first .. first + count - 1``."""
    return sum(sample_fingerprint(number, dataset[number]) for number in range(first, first + count)) % MODULUS
