"""A linear classifier on hashed n-grams of characters and words: small, fast, with the same features on every machine.

The features are the distinct n-grams of a document, scaled to unit length. The weights come from logistic regression, and
the scores are calibrated to probabilities (Platt 1999).
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import expit

from megalite.config.errors import ConfigError, DataError
from megalite.config.explain import validate
from megalite.config.section import Section
from megalite.config.text_files import parse_json
from megalite.corpus.classify.logistic import Buckets, Floats
from megalite.files.whole_file import whole_file

FORMAT = "megalite hashed n-gram classifier 1"
FEWEST_BITS, MOST_BITS = 10, 26
MOST_BYTES = (4 << MOST_BITS) + (16 << 20)
"""Maximum size of a classifier file."""
WORD = re.compile(r"\w+")
SPACE = re.compile(r"\s+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4)."""


@dataclass(frozen=True)
class Features:
    """The n-grams that are the features."""

    bits: int = 20
    """There are 2**bits weights."""
    characters: tuple[int, ...] = (2, 3, 4, 5)
    words: tuple[int, ...] = (1, 2)
    max_characters: int = 20_000
    """For a longer text, half of these from the beginning and half from the middle are read."""

    def buckets(self, text: str) -> Buckets:
        """Returns the sorted, distinct bucket numbers of the text's n-grams."""
        if len(text) > self.max_characters:
            half, middle = self.max_characters // 2, len(text) // 2
            text = text[:half] + " " + text[middle : middle + half]
        lower = text.lower()
        line = f" {SPACE.sub(' ', lower).strip()} ".encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(line, dtype=np.uint32).astype(np.uint64)
        words = np.fromiter((crc32(word.encode("utf-8", "replace")) for word in WORD.findall(lower)), dtype=np.uint64)
        grams = [_hashes(codes, n, salt=n) for n in self.characters] + [_hashes(words, n, 64 + n) for n in self.words]
        mixed = np.concatenate(grams)
        mixed ^= mixed >> np.uint64(29)
        buckets = ((mixed * MULTIPLIER) >> np.uint64(64 - self.bits)).astype(np.uint32)
        buckets.sort()
        return buckets[np.concatenate(([True], buckets[1:] != buckets[:-1]))] if len(buckets) else buckets


def _hashes(parts: npt.NDArray[np.uint64], n: int, salt: int) -> npt.NDArray[np.uint64]:
    """Hashes each n-gram (a polynomial modulo 2**64)."""
    count = len(parts) - n + 1
    if count < 1:
        return np.zeros(0, dtype=np.uint64)
    hashes = np.full(count, salt, dtype=np.uint64)
    for offset in range(n):
        hashes *= MULTIPLIER
        hashes += parts[offset : offset + count]
    return hashes


@dataclass(frozen=True)
class Classifier:
    """The weights, and the calibration that turns a score into a probability."""

    weights: Floats
    bias: float
    slope: float = 1.0
    """Calibration: probability = sigmoid(slope * logit + offset)."""
    offset: float = 0.0
    features: Features = Features()
    facts: dict[str, Any] = field(default_factory=dict)
    """Training data and test results, for information."""

    def logit(self, text: str) -> float:
        buckets = self.features.buckets(text)
        return float(self.weights[buckets].sum(dtype=np.float64) / max(1, len(buckets)) ** 0.5 + self.bias)

    def probability(self, text: str) -> float:
        """The calibrated probability of the positive class."""
        return float(expit(self.slope * self.logit(text) + self.offset))

    def save(self, path: Path) -> None:
        """Writes a safetensors file; everything except the weights is in its header."""
        from safetensors.numpy import save

        facts = {key: value for key, value in asdict(self).items() if key != "weights"}
        metadata = {"format": FORMAT, "classifier": json.dumps(facts)}
        with whole_file(path) as file:
            file.write(save({"weights": self.weights}, metadata))


class _Features(Section):
    """:class:`Features` in a file."""

    bits: int = Field(ge=1, le=MOST_BITS)
    characters: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(max_length=64)
    words: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(max_length=64)
    max_characters: int = Field(ge=1, le=10**9)


class _Header(Section):
    """The header of a classifier's file."""

    bias: float
    slope: float
    offset: float
    features: _Features
    facts: dict[str, Any]


def load_classifier(path: Path) -> Classifier:
    """Reads a file of :meth:`Classifier.save`. Raises: FileNotFoundError, DataError."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such classifier; train one with tools/train_classifier.py")
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: larger than {MOST_BYTES:,} bytes; this is not a classifier")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata, weights = file.metadata() or {}, file.get_tensor("weights")
    except (SafetensorError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a classifier: {error}") from None
    if metadata.get("format") != FORMAT or "classifier" not in metadata:
        raise DataError(f"{path}: not a classifier of this version; train one with tools/train_classifier.py")
    try:
        header = validate(_Header, parse_json(metadata["classifier"], str(path)), str(path))
    except ConfigError as error:
        raise DataError(f"{error}; train one with tools/train_classifier.py") from None
    wanted = 1 << header.features.bits
    if weights.shape != (wanted,) or weights.dtype != np.float32:
        found = f"{weights.dtype} {list(weights.shape)}"
        raise DataError(f"{path}: the weights are {found}, but its features need {wanted:,} of float32; train it again")
    if not np.isfinite(weights).all():
        raise DataError(f"{path}: some weights are not finite; train it again")
    features = Features(**header.features.model_dump())
    return Classifier(weights, header.bias, header.slope, header.offset, features, header.facts)
