"""One unit of preprocessing: texts of a piece of a file become token ids in a shard of their own."""

import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megalite.data.encoder_check import EncoderMismatchError, differing_text
from megalite.data.encoders import Encoded, Encoder
from megalite.data.index_file import token_dtype
from megalite.data.preprocess_plan import Plan
from megalite.data.record_blocks import PieceReport, place_of, record_blocks
from megalite.data.sentences import split_sentences


@dataclass
class KeyCounts:
    """What a unit holds under one key."""

    tokens: int = 0
    sequences: int = 0
    text_bytes: int = 0


@dataclass
class UnitResult:
    """What a finished unit has found; ``NNNNNN.json`` beside its shards."""

    documents: int = 0
    empty: int = 0
    """Records without a token under any key: left out."""
    lines: int = 0
    malformed: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    """As in ``PieceReport``."""
    keys: list[KeyCounts] = field(default_factory=list)
    encoder: str = ""


class Shard(NamedTuple):
    """The files of one unit and one key."""

    ids: Path
    lengths: Path
    """int32 tokens of each sequence."""
    sequences: Path
    """int32 sequences of each document."""


def shard(folder: Path, number: int, key: int) -> Shard:
    """Where the shard of a unit and a key is."""
    return Shard(*(folder / f"{number:06d}.{key}.{suffix}" for suffix in ("ids", "lengths", "sequences")))


def result_path(folder: Path, number: int) -> Path:
    """The file whose presence says that a unit is done."""
    return folder / f"{number:06d}.json"


def encode_unit(plan: Plan, number: int, folder: Path, encoder: Encoder, reference: Encoder) -> UnitResult:
    """Write the shards of one unit; its result file appears by a rename when they are on the disk.

    Args:
        reference: a few documents of every block are compared with its ids.

    Raises: DataError at the first malformed place where the plan says ``fatal``; EncoderMismatchError.
    """
    unit, dtype = plan.units[number], token_dtype(plan.vocab_size)
    report = PieceReport()
    result = UnitResult(keys=[KeyCounts() for _ in plan.keys], encoder=encoder.name)
    with ExitStack() as stack:
        shards = [shard(folder, number, key) for key in range(len(plan.keys))]
        files = [[stack.enter_context(path.open("wb")) for path in one] for one in shards]
        for block in record_blocks(unit.piece(), plan.keys, plan.on_error, report):
            columns = []
            for texts in block.texts:
                parts, encoded, owners = _encode(plan, texts, encoder)
                seed = f"{number} {block.lines[:1]}"
                if encoder is not reference and (
                    (wrong := differing_text(encoder, reference, parts, encoded, seed)) is not None
                ):
                    raise EncoderMismatchError(
                        f"{place_of(unit.piece(), block.lines[owners[wrong]])}: {encoder.name} gives other ids than "
                        f"tokenizers; nothing that it made is kept, run again with --encoder tokenizers"
                    )
                full = encoded.lengths > 0
                counted = np.bincount(owners[full], minlength=len(texts))
                columns.append((Encoded(encoded.ids, encoded.lengths[full]), counted))
            kept = np.logical_or.reduce([sequences > 0 for _, sequences in columns])
            result.documents += int(kept.sum())
            result.empty += int((~kept).sum())
            for (encoded, sequences), opened, counts, texts in zip(
                columns, files, result.keys, block.texts, strict=True
            ):
                ids, lengths = _with_eod(encoded, sequences, plan.eod_id, dtype)
                for file, values in zip(opened, (ids, lengths, sequences[kept].astype("<i4")), strict=True):
                    file.write(values.data)
                counts.tokens += len(ids)
                counts.sequences += len(lengths)
                counts.text_bytes += sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
        for file in (file for opened in files for file in opened):
            file.flush()
            os.fsync(file.fileno())
    result.lines, result.malformed, result.examples = report.lines, report.malformed, report.examples
    target = result_path(folder, number)
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(result)))
    partial.rename(target)
    return result


def finished_result(plan: Plan, number: int, folder: Path) -> UnitResult | None:
    """What an earlier run found in this unit, where its shards are whole."""
    itemsize = token_dtype(plan.vocab_size).itemsize
    try:
        values = json.loads(result_path(folder, number).read_text())
        result = UnitResult(**values | {"keys": [KeyCounts(**counts) for counts in values["keys"]]})
        for key, counts in enumerate(result.keys):
            sizes = tuple(path.stat().st_size for path in shard(folder, number, key))
            if sizes != (counts.tokens * itemsize, counts.sequences * 4, result.documents * 4):
                return None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return result if len(result.keys) == len(plan.keys) else None


def _encode(plan: Plan, texts: list[str], encoder: Encoder) -> tuple[list[str], Encoded, np.ndarray]:
    """The sequences of the texts, their ids, and to which text each belongs."""
    if plan.level == "document":
        return texts, encoder.encode(texts), np.arange(len(texts))
    parts = [split_sentences(text, plan.language) for text in texts]
    sentences = [sentence for part in parts for sentence in part]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return sentences, encoder.encode(sentences), owners


def _with_eod(
    encoded: Encoded, sequences: np.ndarray, eod_id: int | None, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and int32 lengths with the end-of-document token behind the last sequence of every document.

    Args:
        encoded: no sequence of it is empty.
        sequences: of each record.
    """
    if eod_id is None:
        return encoded.ids.astype(dtype), encoded.lengths.astype("<i4")
    last = np.cumsum(sequences)[sequences > 0] - 1
    lengths = encoded.lengths.copy()
    lengths[last] += 1
    ends = np.cumsum(lengths)[last] - 1
    ids = np.empty(len(encoded.ids) + len(ends), dtype)
    is_text = np.ones(len(ids), bool)
    is_text[ends] = False
    ids[is_text] = encoded.ids
    ids[ends] = eod_id
    return ids, lengths.astype("<i4")
