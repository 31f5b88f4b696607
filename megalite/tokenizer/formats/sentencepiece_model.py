"""A ``tokenizer.model`` of sentencepiece as a ``tokenizers.Tokenizer``, where one can be made that gives the same ids."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from megalite.config.errors import DataError

SPACE = "\u2581"
"""Stands for a space in sentencepiece; the one character of a text that does not come back, but as a space."""
SCORE_STEP = 2.0**-6
"""Scores of our unigram pieces are multiples of this. sentencepiece adds them in single precision: multiples of a power of
two add up exactly to 2**18, some 30,000 tokens, so that near ties are decided as in ``tokenizers``' double precision."""
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
"""Types of pieces, and below of models, as sentencepiece_model.proto numbers them."""
UNIGRAM, BPE = 1, 2
BYTE_NAME = "<0x[0-9A-F]{2}>"


def parse_model(content: bytes, source: object) -> Any:
    """The model as a protobuf message. Raises: DataError where it is none."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        proto = sentencepiece_model_pb2.ModelProto.FromString(content)  # type: ignore[attr-defined]
    except DecodeError:
        proto = None
    if proto is None or not proto.pieces:
        raise DataError(f"{source}: not a model of sentencepiece; take the tokenizer.json that belongs to it")
    return proto


def conversions(proto: Any) -> Iterator[Tokenizer]:
    """What may be the same model for ``tokenizers``, the likeliest first; none where it cannot be.

    Not converted are models that change characters (their rules run over more than ``tokenizers`` looks at), unigram models
    whose scores are rounded differently in the sums of the two libraries, and models of words or characters.
    """
    normal, model = proto.normalizer_spec, proto.trainer_spec.model_type
    if normal.precompiled_charsmap or proto.trainer_spec.treat_whitespace_as_suffix or not normal.escape_whitespaces:
        return
    if model == BPE and not any(piece.type == UNUSED for piece in proto.pieces):
        for longest_left in (True, False):
            yield _finished(_bpe(proto, longest_left), proto)
    elif model == UNIGRAM and all((piece.score / SCORE_STEP).is_integer() for piece in proto.pieces):
        yield _finished(_unigram(proto), proto)


def _bpe(proto: Any, longest_left: bool) -> Tokenizer:
    """Every way to put a piece together from two others is a merge; the best piece first, as sentencepiece merges.

    Of equally good pieces sentencepiece takes what stands first in the text, which a fixed order cannot say. For runs of
    one character, where it matters, the longer piece first does the same.
    """
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}
    found = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                found.append((-score, -len(piece), -cut if longest_left else cut, ids[piece], left, right))
    merges = [(left, right) for *_, left, right in sorted(found)]
    unknown = proto.pieces[_unknown_id(proto)].piece
    return Tokenizer(
        models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=proto.trainer_spec.byte_fallback)
    )


def _unigram(proto: Any) -> Tokenizer:
    scores = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(scores, _unknown_id(proto), byte_fallback=proto.trainer_spec.byte_fallback))
    pieces = [piece.piece for piece in proto.pieces if piece.type == NORMAL]
    names = [piece.piece for piece in proto.pieces if piece.type in (UNKNOWN, CONTROL)]
    cuts = [_cut_of_byte_names(pieces), *filter(None, (_cut_of_name(name, pieces) for name in names))]
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("|".join(cuts)), behavior="merged_with_previous")
    return tokenizer


def _finished(tokenizer: Tokenizer, proto: Any) -> Tokenizer:
    """With the rules on spaces, the decoder and the pieces that have a meaning."""
    rules, specials = proto.normalizer_spec, (UNKNOWN, CONTROL)
    steps: list[Any] = []
    if rules.remove_extra_whitespaces:
        steps += [
            normalizers.Replace(Regex(r"\A +"), ""),
            normalizers.Replace(Regex(rf"[ {SPACE}]+\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    if rules.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    tokenizer.normalizer = normalizers.Sequence(steps) if len(steps) > 1 else steps[0]
    parts: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    parts += [decoders.Strip(" ", 1, 0)] if rules.add_dummy_prefix else []
    tokenizer.decoder = decoders.Sequence(parts)
    named = [piece.piece for piece in proto.pieces if piece.type in specials]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named])
    symbols = [piece.piece for piece in proto.pieces if piece.type == USER]
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=SPACE in token) for token in symbols])
    return tokenizer


def _unknown_id(proto: Any) -> int:
    return next(number for number, piece in enumerate(proto.pieces) if piece.type == UNKNOWN)


def _cut_of_byte_names(pieces: Sequence[str]) -> str:
    """Where a text like ``<0x0A>`` is cut, since unigram in ``tokenizers`` would match the byte piece of this name in it.

    The place is one that no piece of the model runs over, so the cut changes nothing else.
    """
    places = {"<": "0x[0-9A-F]{2}>", "<0": "x[0-9A-F]{2}>", "<0x[0-9A-F]{2}": ">", "<0x": "[0-9A-F]{2}>"}
    crossings = ("<0", "0x", "[0-9A-F]>", "x[0-9A-F]")
    free = (
        place
        for place, crossing in zip(places.items(), crossings, strict=True)
        if not any(re.search(crossing, piece) for piece in pieces)
    )
    before, after = next(free, next(iter(places.items())))
    return f"{before}(?={after})"


def _cut_of_name(name: str, pieces: Sequence[str]) -> str | None:
    """The same for a text that spells a control piece; None where pieces run over every place of it."""
    for cut in range(1, len(name)):
        if not any(name[cut - 1 : cut + 1] in piece for piece in pieces):
            return f"{re.escape(name[:cut])}(?={re.escape(name[cut:])})"
    return None
