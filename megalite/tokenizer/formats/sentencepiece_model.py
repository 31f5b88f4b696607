"""Convert sentencepiece's ``tokenizer.model`` to a ``tokenizers.Tokenizer``, if the ids can be the same."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from megalite.config.errors import DataError

SPACE = "\u2581"
"""Stands for a space in sentencepiece. A round trip turns it into a space."""
SCORE_STEP = 2.0**-6
"""Scores of our unigram pieces are multiples of this. sentencepiece adds scores in single precision; multiples of a power of
two add up exactly to 2**18, about 30,000 tokens, so near ties are decided as in ``tokenizers``, in double precision."""
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
"""Types of pieces, and below of models, in sentencepiece_model.proto."""
UNIGRAM, BPE = 1, 2


def parse_model(content: bytes, source: object) -> Any:
    """The model as a protobuf message. Raises: DataError if the content is not a model."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        proto = sentencepiece_model_pb2.ModelProto.FromString(content)  # type: ignore[attr-defined]
    except DecodeError:
        proto = None
    if proto is None or not proto.pieces:
        raise DataError(f"{source}: not a sentencepiece model; use the tokenizer.json of the same model")
    return proto


def conversions(proto: Any) -> Iterator[Tokenizer]:
    """Yield candidates for the same tokenizer, the most likely first, or nothing if the model cannot be converted.

    Models that normalize characters are not converted (their rules span more characters than ``tokenizers`` considers), nor
    unigram models whose scores the two libraries round differently, nor word and character models.
    """
    normal, model = proto.normalizer_spec, proto.trainer_spec.model_type
    if normal.precompiled_charsmap or proto.trainer_spec.treat_whitespace_as_suffix or not normal.escape_whitespaces:
        return
    if model == BPE and not any(piece.type == UNUSED for piece in proto.pieces):
        for longest_left in (True, False):
            yield _complete(_bpe(proto, longest_left), proto)
    elif model == UNIGRAM and all((piece.score / SCORE_STEP).is_integer() for piece in proto.pieces):
        yield _complete(_unigram(proto), proto)


def _bpe(proto: Any, longest_left: bool) -> Tokenizer:
    """BPE in which every split of a piece into two others is a merge, ordered by score as in sentencepiece.

    Between equal scores sentencepiece takes the leftmost pair, which no fixed order expresses. Longer pieces first gives the
    same result for runs of one character, where it matters.
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


def _complete(tokenizer: Tokenizer, proto: Any) -> Tokenizer:
    """Add the rules for spaces, the decoder and the special pieces."""
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
    """A pattern that splits texts like ``<0x0A>``, which unigram in ``tokenizers`` would match with the byte piece.

    The split is at a place that no piece crosses, so it changes nothing else.
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
    """The same for a text that contains a control piece; None if pieces cross every place in it."""
    for cut in range(1, len(name)):
        if not any(name[cut - 1 : cut + 1] in piece for piece in pieces):
            return f"{re.escape(name[:cut])}(?={re.escape(name[cut:])})"
    return None
