"""Preprocessing of one unit: the texts of a piece of a file become token ids in a shard."""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megalite.data.index_file import token_dtype
from megalite.data.preprocess.encoder_check import EncoderMismatchError, differing_text
from megalite.data.preprocess.encoders import Encoded, Encoder
from megalite.data.preprocess.plan import PreprocessPlan
from megalite.data.preprocess.sentences import split_sentences
from megalite.data.preprocess.shard import ShardCounts, ShardWriter, is_whole
from megalite.files.readers.malformed import Malformed, ReadReport
from megalite.files.readers.pieces import Piece, line_in_file
from megalite.files.readers.record_blocks import Block, record_blocks
from megalite.files.whole_file import whole_file
from megalite.tokenizer.special_text import SpecialSpellings

INEXACT = "inexact-"
"""Name of an empty file, with the encoder's name behind it."""


@dataclass
class UnitResult:
    """Counts of a finished unit; ``NNNNNN.json`` beside its shards."""

    documents: int = 0
    empty: int = 0
    """Records without a token under any key, which are left out."""
    lines: int = 0
    malformed: int = 0
    places: list[Malformed] = field(default_factory=list)
    """The first malformed places; lines of jsonl are counted within the unit."""
    text_bytes: list[int] = field(default_factory=list)
    """For each key."""
    special_spellings: list[int] = field(default_factory=list)
    """For each key."""
    shards: list[ShardCounts] = field(default_factory=list)
    """For each key."""
    encoder: str = ""


def shard_path(folder: Path, number: int, key: int) -> Path:
    """The file of a unit and a key."""
    return folder / f"{number:06d}.{key}.shard"


def result_path(folder: Path, number: int) -> Path:
    """The file that exists once a unit is done."""
    return folder / f"{number:06d}.json"


def encode_unit(
    plan: PreprocessPlan, number: int, folder: Path, encoder: Encoder, reference: Encoder, spellings: SpecialSpellings
) -> None:
    """Write the shards of one unit, then the file with its counts.

    Args:
        reference: its ids are compared with those of a few documents of every block.

    Raises: DataError at the first malformed record if the plan says ``fatal``; EncoderMismatchError.
    """
    unit, dtype = plan.units[number], token_dtype(plan.vocab_size)
    report = ReadReport()
    nothing = [0 for _ in plan.keys]
    result = UnitResult(text_bytes=list(nothing), special_spellings=list(nothing), encoder=encoder.name)
    with ExitStack() as stack:
        writers = [stack.enter_context(ShardWriter(shard_path(folder, number, key))) for key in range(len(plan.keys))]
        for block in record_blocks(unit, plan.keys, plan.on_error, report):
            columns = [_encode(plan, texts, encoder) for texts in block.texts]
            if encoder is not reference:
                for column in columns:
                    _check(unit, block, column, encoder, reference)
            kept = np.logical_or.reduce([column.sequences > 0 for column in columns])
            result.documents += int(kept.sum())
            result.empty += int((~kept).sum())
            for key, (column, writer) in enumerate(zip(columns, writers, strict=True)):
                ids, lengths = _with_eod(column.encoded, column.sequences, plan.eod_id, dtype)
                writer.append(ids, lengths, column.sequences[kept])
                result.text_bytes[key] += sum(
                    len(text) if text.isascii() else len(text.encode()) for text in block.texts[key]
                )
                result.special_spellings[key] += sum(map(spellings.count, block.texts[key]))
    result.shards = [writer.counts for writer in writers]
    result.lines, result.malformed, result.places = report.lines, report.malformed, report.places
    with whole_file(result_path(folder, number), flush=False) as file:
        file.write(json.dumps(asdict(result)).encode())


def read_result(folder: Path, number: int) -> UnitResult:
    """The counts of a finished unit. Raises: FileNotFoundError; ValueError, TypeError or KeyError if they are damaged."""
    values = json.loads(result_path(folder, number).read_text())
    shards = [ShardCounts(**counts) for counts in values["shards"]]
    return UnitResult(**values | {"shards": shards, "places": [Malformed(*place) for place in values["places"]]})


def is_encoded(plan: PreprocessPlan, folder: Path, number: int) -> bool:
    """Whether the unit is done, its shards have their checksums, and its encoder has not been found inexact since."""
    itemsize = token_dtype(plan.vocab_size).itemsize
    try:
        result = read_result(folder, number)
        whole = [
            is_whole(shard_path(folder, number, key), counts, itemsize) for key, counts in enumerate(result.shards)
        ]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return False
    return len(whole) == len(plan.keys) and all(whole) and result.encoder not in inexact_encoders(folder)


def inexact_encoders(folder: Path) -> list[str]:
    """Encoders that gave other ids than the reference in this job."""
    return [path.name.removeprefix(INEXACT) for path in folder.glob(f"{INEXACT}*")]


class Column(NamedTuple):
    """The texts of a block under one key."""

    parts: list[str]
    """The texts, or their sentences."""
    owners: np.ndarray
    """The record of each part."""
    raw: Encoded
    """The ids of all parts."""
    encoded: Encoded
    """The same without parts that have no ids."""
    sequences: np.ndarray
    """Number of parts with ids in each record."""


def _encode(plan: PreprocessPlan, texts: list[str], encoder: Encoder) -> Column:
    parts, owners = texts, np.arange(len(texts))
    if plan.level == "sentence":
        split = [split_sentences(text, plan.language) for text in texts]
        parts = [sentence for sentences in split for sentence in sentences]
        owners = np.repeat(owners, [len(sentences) for sentences in split])
    raw = encoder.encode(parts)
    full = raw.lengths > 0
    sequences = np.bincount(owners[full], minlength=len(texts))
    return Column(parts, owners, raw, Encoded(raw.ids, raw.lengths[full]), sequences)


def _check(unit: Piece, block: Block, column: Column, encoder: Encoder, reference: Encoder) -> None:
    """Compare a few texts with the reference. Raises: EncoderMismatchError."""
    seed = f"{unit.start} {block.lines[:1]}"
    wrong = differing_text(encoder, reference, column.parts, column.raw, seed)
    if wrong is not None:
        raise EncoderMismatchError(
            f"{unit.path}:{line_in_file(unit, block.lines[column.owners[wrong]])}: {encoder.name} gives other ids than "
            f"{reference.name}; nothing that it made is used, "
            + ("run again with --encoder tokenizers" if reference.name == "tokenizers" else "use another tokenizer")
        )


def _with_eod(
    encoded: Encoded, sequences: np.ndarray, eod_id: int | None, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and lengths with the end-of-document token after the last sequence of every document.

    Args:
        encoded: without empty sequences.
        sequences: number of sequences of each record.
    """
    if eod_id is None:
        return encoded.ids.astype(dtype), encoded.lengths
    last = np.cumsum(sequences)[sequences > 0] - 1
    lengths = encoded.lengths.copy()
    lengths[last] += 1
    ends = np.cumsum(lengths)[last] - 1
    ids = np.empty(len(encoded.ids) + len(ends), dtype)
    is_text = np.ones(len(ids), bool)
    is_text[ends] = False
    ids[is_text] = encoded.ids
    ids[ends] = eod_id
    return ids, lengths
