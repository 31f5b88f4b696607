"""Encoders for a tokenizer: its own library, and two faster ones that must give the same ids.

Nothing is added in front or behind. Whether a special token that a text spells (``<|endoftext|>``) becomes its id, as it
does in Megatron-LM, is said by the tokenizer's ``encode_special_tokens``; by default it is text.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer

from megalite.config.errors import DataError

EncoderName = Literal["gigatoken", "fastokens", "tokenizers", "sentencepiece"]


class Encoded(NamedTuple):
    """The concatenated ids of several texts."""

    ids: np.ndarray
    """uint32."""
    lengths: np.ndarray
    """int64, number of ids of each text."""


class Encoder(Protocol):
    """Encodes on the calling thread: one worker is one core."""

    name: EncoderName

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Ids of the texts, without tokens that the tokenizer would add."""
        ...


class TokenizersEncoder:
    """``tokenizers``, or sentencepiece behind its methods; the reference for the others."""

    name: EncoderName = "tokenizers"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        if not isinstance(tokenizer, Tokenizer):
            self.name = "sentencepiece"

    def encode(self, texts: Sequence[str]) -> Encoded:
        """See ``Encoder``. Uses one core only if ``TOKENIZERS_PARALLELISM`` is ``false``."""
        rows = [row.ids for row in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return Encoded(np.fromiter(chain.from_iterable(rows), np.uint32, int(lengths.sum())), lengths)


class GigatokenEncoder:
    """``gigatoken`` (MIT): BPE with the split patterns it knows, and sentencepiece BPE."""

    name: EncoderName = "gigatoken"

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises: ImportError; the package's own error if it rejects the tokenizer."""
        import gigatoken

        self._tokenizer = gigatoken.Tokenizer.from_json(_as_json(tokenizer))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """See ``Encoder``."""
        if len(texts) == 1:
            ids = self._tokenizer.encode(texts[0])
            return Encoded(ids, np.array([len(ids)]))
        with _awkward_hidden():
            rows = self._tokenizer.encode_batch(list(texts), parallel=False)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        whole = rows[0].base if len(rows) else np.empty(0, np.uint32)
        if whole is None or len(whole) != lengths.sum():
            whole = np.concatenate(rows)
        return Encoded(whole, lengths)


@contextmanager
def _awkward_hidden() -> Iterator[None]:
    """Import gigatoken without ``awkward``, so that it returns numpy views of one array.

    Importing it takes a quarter of a second in every worker, and for documents of some KB its arrays are slower.
    """
    found = sys.modules.get("awkward")
    sys.modules["awkward"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["awkward"]
        if found is not None:
            sys.modules["awkward"] = found


class FastokensEncoder:
    """``fastokens`` (Apache-2.0): byte-level BPE with any split pattern."""

    name: EncoderName = "fastokens"

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises: ImportError; the package's own error if it rejects the tokenizer."""
        import fastokens

        self._tokenizer = fastokens.Tokenizer.from_json_str(_as_json(tokenizer))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """See ``Encoder``."""
        ids, offsets = self._tokenizer.encode_batch_flat(list(texts))
        return Encoded(np.frombuffer(ids, np.uint32), np.diff(np.frombuffer(offsets, np.uint64).astype(np.int64)))


def _as_json(tokenizer: Any) -> str:
    """The ``tokenizer.json`` for an encoder that matches every added token; without special ones if they are text."""
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError("a model of sentencepiece that has no tokenizer.json with the same ids")
    if not tokenizer.encode_special_tokens:
        return tokenizer.to_str()
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if not token["special"]]
    return json.dumps(values)


ENCODERS: dict[EncoderName, Callable[[Any], Encoder]] = {
    "gigatoken": GigatokenEncoder,
    "fastokens": FastokensEncoder,
    "tokenizers": TokenizersEncoder,
    "sentencepiece": TokenizersEncoder,
}
"""In the order of their speed."""


def open_encoder(name: EncoderName, tokenizer: Any) -> Encoder:
    """The encoder of that name. Raises: DataError if it is not installed or rejects the tokenizer."""
    try:
        return ENCODERS[name](tokenizer)
    except ImportError:
        raise DataError(f"--encoder {name}: is not installed; pip install 'megalite[fast]'") from None
    except Exception as error:  # both raise errors of any kind for a tokenizer that they do not know
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"--encoder {name}: does not support this tokenizer ({reason}); use --encoder auto") from None
