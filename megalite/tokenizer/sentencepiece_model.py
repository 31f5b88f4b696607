"""Unigram (Kudo 2018, arXiv:1804.10959) or BPE by sentencepiece, as its own model and as a ``tokenizer.json``."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from megalite.config.errors import DataError
from megalite.tokenizer.design import Design
from megalite.tokenizer.sample import read_texts

SPACE = "\u2581"
"""Stands for a space in sentencepiece; the one character of a text that does not come back, but as a space."""
SCORE_STEP = 2.0**-6
"""Scores of unigram pieces are rounded to this. sentencepiece adds them in single precision: multiples of a power of two
add up exactly to 2**18, some 30,000 tokens, so that near ties are decided as in ``tokenizers``' double precision."""
LONGEST_LINE = 1 << 16
"""Bytes; training runs over lines, and a longer one is trained on in parts."""
THREADS = 4
"""Fixed, for the order of additions and so the scores depend on it."""
NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4
"""Types of pieces, and below of models, as sentencepiece_model.proto numbers them."""
UNIGRAM = 1


def train_sentencepiece(sample: Path, design: Design) -> bytes:
    """The content of a ``tokenizer.model``: nothing normalised, spaces kept, unseen characters spelt in bytes.

    Raises: DataError where the text does not give so many pieces.
    """
    special = design.special
    order = design.special_in_order()
    roles = dict.fromkeys(special.roles().values())
    model = io.BytesIO()
    ids = {"pad": special.pad, "bos": special.bos, "eos": special.eos, "unk": special.unk}
    settings: dict[str, Any] = {f"{role}_id": order.index(token) for role, token in ids.items() if token is not None}
    settings |= {f"{role}_piece": token for role, token in ids.items() if token is not None}
    if special.bos == special.eos:
        settings["bos_id"] = -1
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(sample),
            model_writer=model,
            model_type=design.model.removeprefix("sentencepiece_"),
            vocab_size=design.total,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            split_digits=design.digits_rule == "single",
            user_defined_symbols=[token for token in order if token not in roles],
            max_sentence_length=LONGEST_LINE + 4,
            seed_sentencepiece_size=min(1_000_000, 32 * design.total),
            num_threads=THREADS,
            minloglevel=2,
            **settings,
        )
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2] or "no text"
        raise DataError(
            f"sentencepiece, --vocab_size {design.vocab_size}: {reason}; take more text or a smaller vocabulary"
        ) from None
    return _rounded(model.getvalue()) if design.model == "sentencepiece_unigram" else model.getvalue()


def convert(content: bytes) -> Tokenizer:
    """The same model for ``tokenizers``: the same ids for every text without the name of a control token in it."""
    proto = _parsed(content)
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    unknown = proto.pieces[proto.trainer_spec.unk_id].piece
    if proto.trainer_spec.model_type == UNIGRAM:
        scores = [(piece.piece, piece.score) for piece in proto.pieces]
        tokenizer = Tokenizer(models.Unigram(scores, proto.trainer_spec.unk_id, byte_fallback=True))
        cut = _cut_of_byte_pieces([piece.piece for piece in proto.pieces if piece.type == NORMAL])
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(cut), behavior="merged_with_previous")
    else:
        merges = _merges({piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}, ids)
        tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    named = [piece.piece for piece in proto.pieces if piece.type in (UNKNOWN, CONTROL, USER)]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named])
    return tokenizer


def _cut_of_byte_pieces(pieces: Sequence[str]) -> str:
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


def _merges(scores: dict[str, float], ids: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others; the best piece first, as sentencepiece merges."""
    found = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                found.append((-score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _parsed(content: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString(content)  # type: ignore[attr-defined]


def _rounded(content: bytes) -> bytes:
    proto = _parsed(content)
    for piece in proto.pieces:
        piece.score = round(piece.score / SCORE_STEP) * SCORE_STEP
    return proto.SerializeToString()


def _lines(sample: Path) -> Iterator[str]:
    """Lines without their ends, which no piece runs over; cut at a NUL too, for sentencepiece skips such lines."""
    for text in read_texts(sample):
        for line in text.replace("\0", "\n").split("\n"):
            for start in range(0, len(line), LONGEST_LINE // 4):
                yield line[start : start + LONGEST_LINE // 4]
