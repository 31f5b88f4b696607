"""Load a sentencepiece model: converted to ``tokenizers`` if the ids are equal, else encoded by sentencepiece itself."""

import random
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sentencepiece
from tokenizers import AddedToken, Tokenizer

from megalite.config.errors import DataError
from megalite.tokenizer.formats.sentencepiece_model import BYTE, CONTROL, NORMAL, SPACE, USER, conversions, parse_model
from megalite.tokenizer.hard_texts import HARD_TEXTS, Texts

FUZZED = 1500
"""Number of random texts, made of the model's pieces, on which a conversion is checked in addition to the hard ones."""


class Ids(NamedTuple):
    """The result of ``encode``, named as in ``tokenizers.Encoding``."""

    ids: list[int]


class SentencePieceTokenizer:
    """sentencepiece behind the methods of ``tokenizers.Tokenizer`` that megalite uses.

    Special tokens are the control pieces. They are found in texts only if ``encode_special_tokens`` is False.

    Args:
        content: the serialized model.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.encode_special_tokens = False
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        self._pieces = [self._processor.id_to_piece(number) for number in range(len(self._processor))]
        self._ids = {piece: number for number, piece in enumerate(self._pieces)}
        is_special = self._processor.is_control
        self._special = {piece: n for n, piece in enumerate(self._pieces) if is_special(n)}
        names = sorted(self._special, key=len, reverse=True)
        self._names = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None

    def roles(self) -> dict[str, str]:
        """Maps roles to tokens, for the roles that the model has."""
        ids = {"bos_token": self._processor.bos_id(), "eos_token": self._processor.eos_id()}
        ids |= {"pad_token": self._processor.pad_id(), "unk_token": self._processor.unk_id()}
        return {role: self._pieces[number] for role, number in ids.items() if number >= 0}

    def encode(self, text: str, add_special_tokens: bool = False) -> Ids:
        if self.encode_special_tokens or self._names is None:
            return Ids(self._processor.encode(text))
        ids: list[int] = []
        for part in self._names.split(text):
            ids += [self._special[part]] if part in self._special else self._processor.encode(part)
        return Ids(ids)

    def encode_batch_fast(self, texts: Sequence[str], add_special_tokens: bool = False) -> list[Ids]:
        return [self.encode(text) for text in texts]

    encode_batch = encode_batch_fast

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        shown, run = [], list[int]()
        for number in ids:
            if self._processor.is_control(number):
                shown += [self._processor.decode(run), "" if skip_special_tokens else self._pieces[number]]
                run = []
            else:
                run.append(number)
        return "".join(shown) + self._processor.decode(run)

    def decode_batch(self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        return [self.decode(row, skip_special_tokens) for row in rows]

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        return dict(self._ids)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        return len(self._pieces)

    def token_to_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def id_to_token(self, number: int) -> str | None:
        return self._pieces[number] if 0 <= number < len(self._pieces) else None

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        return {n: AddedToken(piece, special=True, normalized=False) for piece, n in self._special.items()}


def open_sentencepiece(
    content: bytes, special: Iterable[str], source: object
) -> tuple[Any, str, SentencePieceTokenizer]:
    """Return a tokenizer for a ``tokenizer.model``, a phrase that describes its check, and the ``SentencePieceTokenizer``.

    Args:
        special: special tokens. User-defined symbols among them, which sentencepiece finds in any text, are changed into
            control pieces, which it finds in none.

    Raises: DataError if the content is not a valid model.
    """
    tokenizer, check, adapted = _open(content, frozenset(special), str(source))
    own = SentencePieceTokenizer(adapted)
    return (own if tokenizer is None else Tokenizer.from_str(tokenizer)), check, own


@lru_cache(maxsize=4)
def _open(content: bytes, special: frozenset[str], source: str) -> tuple[str | None, str, bytes]:
    proto = parse_model(content, source)
    names = [piece.piece for piece in proto.pieces]
    if len(set(names)) < len(names) or sum(piece.type == 2 for piece in proto.pieces) != 1:
        raise DataError(f"{source}: damaged: a piece occurs twice, or there is not exactly one unknown piece")
    for piece in proto.pieces:
        if piece.type in (USER, NORMAL) and piece.piece in special:
            piece.type = CONTROL
    adapted = proto.SerializeToString()
    try:
        own = SentencePieceTokenizer(adapted)
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise DataError(f"{source}: sentencepiece cannot load it: {reason}; get the file again") from None
    own.encode_special_tokens = True
    texts = [*HARD_TEXTS, *texts_of_pieces(proto)]
    expected = [row.ids for row in own.encode_batch_fast(texts)]
    reason = "models of this kind are not converted"
    for tokenizer in conversions(proto):
        tokenizer.encode_special_tokens = True
        different = differing(tokenizer, texts, expected)
        if not different:
            return tokenizer.to_str(), f"converted, equal to sentencepiece on {len(texts):,} texts", adapted
        reason = f"the conversion differs on {len(different):,} of {len(texts):,} texts, such as {different[0][:30]!r}"
    return None, f"sentencepiece itself: {reason}", adapted


def differing(tokenizer: Any, texts: Texts, expected: Sequence[Sequence[int]]) -> list[str]:
    """The texts for which the ids differ from those expected."""
    rows = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [text for text, row, ids in zip(texts, rows, expected, strict=True) if row.ids != list(ids)]


def texts_of_pieces(proto: Any) -> list[str]:
    """Random texts made of the model's pieces, where merges meet and overlap; always the same for the same model."""
    draw = random.Random(0)
    visible = [piece.piece.replace(SPACE, " ") for piece in proto.pieces if piece.type not in (CONTROL, BYTE, 2)]
    named = [piece.piece for piece in proto.pieces if piece.type in (CONTROL, USER, BYTE, 2)]
    texts = [f"a{name}b {name}" for name in named[:600]]
    for _ in range(FUZZED if visible else 0):
        parts = draw.choices(visible, k=draw.randint(1, 12))
        if draw.random() < 0.3:  # beginnings and ends of pieces, which merge into others
            parts = [part[draw.randrange(len(part)) :] for part in parts]
        if draw.random() < 0.1:
            parts = [part * draw.randint(1, 9) for part in parts]
        texts.append("".join(parts))
    for character in {text[0] for text in visible if len(set(text)) == 1 and len(text) > 1}:
        texts += [f"a{character * length}b" for length in range(1, 70)]
    return texts
