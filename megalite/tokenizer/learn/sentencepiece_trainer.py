"""Train unigram (Kudo 2018, arXiv:1804.10959) or BPE models with sentencepiece."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from megalite.config.errors import DataError
from megalite.tokenizer.formats.sentencepiece_model import SCORE_STEP, parse_model
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.sample.sampling import read_texts

LONGEST_LINE = 1 << 16
"""Bytes. sentencepiece trains on lines; longer lines are cut."""
THREADS = 4
"""Constant, because the scores depend on the order of additions."""


def train_sentencepiece(sample: Path, design: Design) -> bytes:
    """Return the content of a ``tokenizer.model`` without normalization, with all spaces kept and byte fallback.

    Raises: DataError if the text is too short for the vocabulary size.
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
            control_symbols=[token for token in order if token not in roles],
            max_sentence_length=LONGEST_LINE + 4,
            seed_sentencepiece_size=min(1_000_000, 32 * design.total),
            num_threads=THREADS,
            minloglevel=2,
            **settings,
        )
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2] or "no text"
        raise DataError(
            f"sentencepiece, --vocab_size {design.vocab_size}: {reason}; use more text or a smaller vocabulary"
        ) from None
    return _rounded(model.getvalue()) if design.model == "sentencepiece_unigram" else model.getvalue()


def _rounded(content: bytes) -> bytes:
    proto = parse_model(content, "the trained model")
    for piece in proto.pieces:
        piece.score = round(piece.score / SCORE_STEP) * SCORE_STEP
    return proto.SerializeToString()


def _lines(sample: Path) -> Iterator[str]:
    """Yield lines without their ends; they are cut at NUL too, because sentencepiece skips lines that contain it."""
    for text in read_texts(sample):
        for line in text.replace("\0", "\n").split("\n"):
            for start in range(0, len(line), LONGEST_LINE // 4):
                yield line[start : start + LONGEST_LINE // 4]
