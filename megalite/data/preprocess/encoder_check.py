"""Compares the ids of a fast encoder with those of ``tokenizers`` on real and on hard texts."""

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from megalite.config.errors import DataError
from megalite.data.preprocess.encoders import ENCODERS, Encoded, Encoder, TokenizersEncoder, open_encoder
from megalite.data.preprocess.plan import EncoderChoice, PreprocessPlan
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.record_blocks import record_blocks
from megalite.tokenizer.formats.sentencepiece_tokenizer import SentencePieceTokenizer, differing
from megalite.tokenizer.hard_texts import HARD_TEXTS
from megalite.tokenizer.load import LoadedTokenizer

SAMPLED_CHARACTERS = 300
"""Characters compared of one document; of a longer one, a random stretch."""
SAMPLED_OF_BLOCK = 2
"""Documents compared in each block: few, since the reference is some fifty times slower."""
SAMPLED_UNITS = 16
TEXTS_OF_UNIT = 4
CHARACTERS_OF_TEXT = 2000
READ_OF_UNIT = 1 << 16


class EncoderMismatchError(DataError):
    """An encoder gave other ids than ``tokenizers`` during the run."""


def sample_texts(plan: PreprocessPlan) -> list[str]:
    """The beginnings of a few documents from all parts of the inputs."""
    texts: list[str] = []
    for unit in plan.units[:: -(-len(plan.units) // SAMPLED_UNITS)]:
        block = next(record_blocks(unit, plan.keys, "skip", ReadReport(), READ_OF_UNIT))
        for column in block.texts:
            texts += [text[:CHARACTERS_OF_TEXT] for text in column[:: -(-len(column) // TEXTS_OF_UNIT) or 1]]
    return texts


def choose_encoder(
    choice: EncoderChoice, tokenizer: Any, texts: Sequence[str], inexact: Sequence[str] = ()
) -> tuple[Encoder, list[str]]:
    """The encoder to use, and why ``auto`` does not use the faster ones.

    Args:
        texts: real documents of the corpus; hard texts and the tokenizer's own special tokens are added.
        inexact: encoders that gave other ids in an earlier run; ``auto`` does not use them.

    Raises: DataError if a named encoder is missing, refuses the tokenizer or gives other ids.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker is one core
    reference = TokenizersEncoder(tokenizer)
    if choice == "tokenizers" or not isinstance(tokenizer, Tokenizer):
        return reference, []
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()][:200]
    sample = [*texts, *HARD_TEXTS, *(f"one {token} two{token}\n{token}" for token in specials)]
    expected = reference.encode(sample)
    reasons: list[str] = []
    for name in ENCODERS if choice == "auto" else (choice,):
        if name == "tokenizers":
            break
        if name in inexact and choice == "auto":
            reasons.append(f"{name}: gave other ids than tokenizers in an earlier run")
            continue
        try:
            encoder = open_encoder(name, tokenizer)
            if (place := _first_difference(encoder.encode(sample), expected)) is None:
                return encoder, reasons
            raise DataError(
                f"--encoder {name}: gives other ids than tokenizers, for example for {sample[place][:60]!r}; "
                f"use --encoder auto"
            )
        except DataError as error:
            if choice != "auto":
                raise
            reasons.append(str(error).removeprefix("--encoder ").rsplit("; ", 1)[0])
    return reference, reasons


def checked(path: Path, loaded: LoadedTokenizer, texts: Sequence[str]) -> str:
    """A sentence on how the tokenizer was compared with its own library, including on the given texts.

    Raises: DataError if a converted model gives other ids than sentencepiece for one of them.
    """
    sample = [*texts, *HARD_TEXTS]
    if loaded.own is not None:
        if wrong := differing(loaded.tokenizer, sample, [row.ids for row in loaded.own.encode_batch_fast(sample)]):
            raise DataError(
                f"{path}: converted from sentencepiece it gives other ids for {wrong[0][:60]!r} of the input, though it was "
                f"equal on other texts; use the tokenizer.json that belongs to it"
            )
        return f"{loaded.check} and {len(texts):,} of the input"
    beside = path / "tokenizer.model"
    if not (path / "tokenizer.json").is_file() or not beside.is_file():
        return loaded.check
    try:
        own = SentencePieceTokenizer(beside.read_bytes())
    except (RuntimeError, OSError):
        return f"{loaded.check}; the tokenizer.model beside it cannot be read"
    own.encode_special_tokens = bool(loaded.tokenizer.encode_special_tokens)
    wrong = differing(loaded.tokenizer, sample, [row.ids for row in own.encode_batch_fast(sample)])
    if not wrong:
        return f"{loaded.check}; the tokenizer.model beside it gives the same on {len(sample):,} texts"
    result = (
        f"{loaded.check}; the tokenizer.model beside it gives other ids for {len(wrong):,} of {len(sample):,} texts"
    )
    return f"{result}, such as {wrong[0][:30]!r}"


def differing_text(
    encoder: Encoder, reference: Encoder, texts: Sequence[str], encoded: Encoded, seed: str
) -> int | None:
    """The number of a text with other ids, among a few that the seed draws; None if they are equal.

    Args:
        encoded: the encoder's result for all texts.
    """
    draw = random.Random(seed)
    ends = np.cumsum(encoded.lengths)
    for number in draw.sample(range(len(texts)), min(SAMPLED_OF_BLOCK, len(texts))):
        text = texts[number]
        if len(text) <= SAMPLED_CHARACTERS:
            got = encoded.ids[ends[number] - encoded.lengths[number] : ends[number]]
        else:
            start = draw.randrange(len(text) - SAMPLED_CHARACTERS + 1)
            text = text[start : start + SAMPLED_CHARACTERS]
            got = encoder.encode([text]).ids
        if not np.array_equal(got, reference.encode([text]).ids):
            return number
    return None


def _first_difference(got: Encoded, expected: Encoded) -> int | None:
    """The number of the first text with other ids."""
    got_rows, expected_rows = (np.split(one.ids, np.cumsum(one.lengths)[:-1]) for one in (got, expected))
    pairs = zip(got_rows, expected_rows, strict=True)
    return next((number for number, (left, right) in enumerate(pairs) if not np.array_equal(left, right)), None)
