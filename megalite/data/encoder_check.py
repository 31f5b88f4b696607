"""Is a fast encoder exact? Its ids on real and on nasty texts are compared with those of ``tokenizers``."""

import os
import random
from collections.abc import Sequence
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from megalite.config.errors import DataError
from megalite.data.encoders import ENCODERS, Encoded, Encoder, TokenizersEncoder, open_encoder
from megalite.data.preprocess_plan import Plan
from megalite.data.record_blocks import PieceReport, record_blocks

EncoderChoice = Literal["auto", "gigatoken", "fastokens", "tokenizers"]
SAMPLED_CHARACTERS = 300
"""Of one document; a longer one is compared by a stretch of it."""
SAMPLED_OF_BLOCK = 2
"""Documents compared in each block of the work: few, since the reference is some fifty times as slow."""
NASTY = (
    "",
    " ",
    "\n",
    "  leading and trailing  ",
    "a\tb\r\n\r\n\n   c \u00a0\u2003\u3000d",
    " " * 300 + "x" + "\n" * 300,
    "it's I'LL we've they'd 'S 'tis rock'n'roll O\u2019Neil",
    "1 12 123 1234 12345678901234567890 3.14 1,000,000 \u0663\u0664 \u00bd \u2167 0x1F",
    "caf\u00e9 cafe\u0301 \u00c5\u212b na\u00efve \u1e9e \ufb01 \u0130\u0131 \u01c5",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\ud55c\uad6d\uc5b4 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u0645\u0631\u062d\u0628\u0627 \u202b\u05e9\u05dc\u05d5\u05dd\u202c \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea\U0001f44d\U0001f3fd \u2764\ufe0f",
    "\x00\x01\x07\x08\x0b\x0c\x1b[0m\x7f\x80\x85\x9f\ufeff\ufffd\ufffe\uffff\U0010ffff",
    "\u200b\u200c\u200d\u2028\u2029\u2060 \u0301\u0301\u0301",
    "def f(x):\n    return x**2  # \u03c0\n\n\n\tif not a!=b: {[(<>)]}@#$%^&*_+=|~`\\/?;:\"'",
    "https://a.example/b?c=d&e=%20#f user@example.org C:\\Users\\x <br/> &amp; --- ... ?!?!",
    "a" * 3000,
    "ab" * 1500 + "\u00e9" * 1500,
    "camelCase snake_case SCREAMING_CASE x2y3z \u0410\u0411\u0412\u0433\u0434 \u0391\u03b2\u03b3",
    "<|endoftext|><|im_start|>user\n</s> <s> [INST] <unk> <pad><|endoftext|",
)


SAMPLED_UNITS = 16
TEXTS_OF_UNIT = 4
CHARACTERS_OF_TEXT = 2000
READ_OF_UNIT = 1 << 16


class EncoderMismatchError(DataError):
    """An encoder gave other ids than ``tokenizers`` in the middle of the work."""


def sample_texts(plan: Plan) -> list[str]:
    """Beginnings of a few documents from all over the inputs."""
    texts: list[str] = []
    for unit in plan.units[:: -(-len(plan.units) // SAMPLED_UNITS)]:
        block = next(record_blocks(unit.piece(), plan.keys, "skip", PieceReport(), READ_OF_UNIT))
        for column in block.texts:
            texts += [text[:CHARACTERS_OF_TEXT] for text in column[:: -(-len(column) // TEXTS_OF_UNIT) or 1]]
    return texts


def choose_encoder(choice: EncoderChoice, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Encoder, list[str]]:
    """The encoder to work with, and why ``auto`` passed over the faster ones.

    Args:
        texts: real documents of the corpus; the nasty ones and the tokenizer's own special tokens are added.

    Raises: DataError where a named encoder is missing, refuses the tokenizer or gives other ids.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker is one core
    reference = TokenizersEncoder(tokenizer)
    if choice == "tokenizers":
        return reference, []
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()][:200]
    sample = [*texts, *NASTY, *(f"one {token} two{token}\n{token}" for token in specials)]
    expected = reference.encode(sample)
    reasons: list[str] = []
    for name in ENCODERS if choice == "auto" else (choice,):
        if name == "tokenizers":
            break
        try:
            encoder = open_encoder(name, tokenizer)
            if (place := _first_difference(encoder.encode(sample), expected)) is None:
                return encoder, reasons
            raise DataError(
                f"--encoder {name}: gives other ids than tokenizers, for instance for {sample[place][:60]!r}; "
                f"use --encoder auto"
            )
        except DataError as error:
            if choice != "auto":
                raise
            reasons.append(str(error).removeprefix("--encoder ").rsplit("; ", 1)[0])
    return reference, reasons


def differing_text(
    encoder: Encoder, reference: Encoder, texts: Sequence[str], encoded: Encoded, seed: str
) -> int | None:
    """The number of a text for which the ids differ, looked for among a few that are drawn by the seed.

    Args:
        encoded: what the encoder made of all the texts.
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
