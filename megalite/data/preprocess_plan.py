"""What a preprocessing job will do: which bytes of which file are one unit of work, in which order."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from megalite.corpus.readers import COMPRESSIONS, OnError, kind_of
from megalite.tokenizer.load import LoadedTokenizer

SMALLEST_UNIT = 1 << 20
LARGEST_UNIT = 256 << 20
UNITS_WANTED = 64


@dataclass(frozen=True)
class Unit:
    """A piece of work whose result is kept when the job is killed: a byte range of a jsonl file, or a whole file."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class Input:
    """An input file as it was when the job was planned."""

    path: str
    bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Plan:
    """Everything that decides the output. The number of workers is not in it: the bytes do not depend on it."""

    inputs: tuple[Input, ...]
    units: tuple[Unit, ...]
    tokenizer: str
    tokenizer_fingerprint: str
    vocab_size: int
    eod_id: int | None
    text_key: str
    on_error: OnError

    def to_json(self) -> str:
        """The content of ``plan.json``."""
        return json.dumps(asdict(self), indent=1)

    def digest(self) -> str:
        """Equal for equal inputs and options."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def make_plan(
    paths: Sequence[Path],
    tokenizer_path: Path,
    tokenizer: LoadedTokenizer,
    eod_id: int | None,
    text_key: str,
    on_error: OnError,
) -> Plan:
    """Cut plain jsonl files into byte ranges; a compressed file or a parquet file is one unit."""
    inputs = tuple(Input(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    size = min(LARGEST_UNIT, max(SMALLEST_UNIT, sum(item.bytes for item in inputs) // UNITS_WANTED))
    units = []
    for item in inputs:
        path = Path(item.path)
        divisible = kind_of(path) == "lines" and path.suffix not in COMPRESSIONS
        step = size if divisible else max(1, item.bytes)
        units += [Unit(item.path, start, min(start + step, item.bytes)) for start in range(0, item.bytes, step)]
    return Plan(
        inputs=inputs,
        units=tuple(units),
        tokenizer=str(tokenizer_path),
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        eod_id=eod_id,
        text_key=text_key,
        on_error=on_error,
    )
