"""One unit of preprocessing: texts of a byte range or a file become token ids in a shard of their own."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from megalite.config.errors import DataError
from megalite.corpus.readers import COMPRESSIONS, ReadReport, kind_of, parse_line, read_piece
from megalite.data.index_file import token_dtype
from megalite.data.preprocess_plan import Plan, Unit
from megalite.tokenizer.load import LoadedTokenizer

BLOCK = 4 << 20
"""Bytes of input for one call of the encoder: enough to keep it busy, little enough for the memory."""


@dataclass
class UnitResult:
    """What a finished unit has found; ``NNNNNN.json`` beside its shard."""

    documents: int = 0
    empty: int = 0
    tokens: int = 0
    text_bytes: int = 0
    lines: int = 0
    malformed: int = 0
    examples: tuple[tuple[int, str], ...] = ()
    """(line within the unit, reason) of the first few malformed lines."""


def shard_paths(folder: Path, number: int) -> tuple[Path, Path, Path]:
    """Token ids, int32 lengths, and the result file whose presence says that the unit is done."""
    stem = folder / f"{number:06d}"
    return stem.with_suffix(".ids"), stem.with_suffix(".lengths"), stem.with_suffix(".json")


def encode_unit(plan: Plan, number: int, folder: Path, tokenizer: LoadedTokenizer) -> UnitResult:
    """Write the shard of one unit; its result file appears by a rename when the shard is on the disk.

    Raises: DataError at the first malformed line where the plan says ``fatal``.
    """
    ids_path, lengths_path, result_path = shard_paths(folder, number)
    result = UnitResult()
    dtype = token_dtype(plan.vocab_size)
    with ids_path.open("wb") as ids_file, lengths_path.open("wb") as lengths_file:
        for texts in _blocks(plan, plan.units[number], result):
            ids: list[int] = []
            lengths: list[int] = []
            result.text_bytes += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
            for encoding in tokenizer.tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                before = len(ids)
                ids += encoding.ids
                if len(ids) == before:
                    result.empty += 1
                    continue
                if plan.eod_id is not None:
                    ids.append(plan.eod_id)
                lengths.append(len(ids) - before)
            np.array(ids, dtype=dtype).tofile(ids_file)
            np.array(lengths, dtype="<i4").tofile(lengths_file)
            result.documents += len(lengths)
            result.tokens += len(ids)
        for file in (ids_file, lengths_file):
            file.flush()
            os.fsync(file.fileno())
    partial = result_path.with_suffix(".json.partial")
    partial.write_text(json.dumps(asdict(result)))
    partial.rename(result_path)
    return result


def finished_result(plan: Plan, number: int, folder: Path) -> UnitResult | None:
    """What an earlier run found in this unit, where its shard is whole."""
    ids_path, lengths_path, result_path = shard_paths(folder, number)
    try:
        result = UnitResult(**json.loads(result_path.read_text()))
        sizes = ids_path.stat().st_size, lengths_path.stat().st_size
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return result if sizes == (result.tokens * token_dtype(plan.vocab_size).itemsize, result.documents * 4) else None


def _blocks(plan: Plan, unit: Unit, result: UnitResult) -> Iterator[list[str]]:
    path = Path(unit.path)
    if kind_of(path) == "lines" and path.suffix not in COMPRESSIONS:
        yield from _line_blocks(plan, unit, result)
    else:
        yield from _document_blocks(plan, unit, result)


def _line_blocks(plan: Plan, unit: Unit, result: UnitResult) -> Iterator[list[str]]:
    """Texts of the lines that begin in the unit's byte range."""
    end = unit.size if unit.end is None else unit.end
    with Path(unit.path).open("rb") as file:
        if unit.start > 0:
            file.seek(unit.start - 1)
            file.readline()  # the rest of a line that began before, or only its newline
        position = file.tell()
        while position < end:
            block = file.read(min(BLOCK, end - position))
            if not block.endswith(b"\n"):
                block += file.readline()
            position += len(block)
            texts = []
            for line in block.removesuffix(b"\n").split(b"\n"):
                result.lines += 1
                if not line or line.isspace():
                    continue
                parsed = parse_line(line, plan.text_key)
                if isinstance(parsed, str):
                    _malformed(plan, unit, result, result.lines, parsed)
                else:
                    texts.append(parsed[1])
            yield texts


def _document_blocks(plan: Plan, unit: Unit, result: UnitResult) -> Iterator[list[str]]:
    """Texts of a compressed file, of row groups of a parquet file, of a page or archive."""
    report = ReadReport()
    texts: list[str] = []
    size = 0
    for document in read_piece(unit.piece(), plan.text_key, plan.on_error, report):
        texts.append(document.text)
        size += len(document.text)
        if size >= BLOCK:
            yield texts
            texts, size = [], 0
    yield texts
    result.malformed = report.malformed
    result.examples = tuple((0, example) for example in report.examples)


def _malformed(plan: Plan, unit: Unit, result: UnitResult, line: int, reason: str) -> None:
    if plan.on_error == "fatal":
        number = line + lines_before(Path(unit.path), unit.start)
        raise DataError(f"{unit.path}:{number}: {reason}; mend the line, or skip such lines with --on_error skip")
    result.malformed += 1
    if len(result.examples) < 5:
        result.examples += ((line, reason),)


def lines_before(path: Path, start: int) -> int:
    """Lines that begin before byte ``start``."""
    count, position = 0, 0
    with path.open("rb") as file:
        while position < start and (block := file.read(min(1 << 24, start - position))):
            count += block.count(b"\n")
            position += len(block)
            if position == start and not block.endswith(b"\n"):
                count += 1
    return count
