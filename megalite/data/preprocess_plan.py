"""What a preprocessing job will do: which bytes of which file are one unit of work, in which order."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from megalite.corpus.pieces import cut
from megalite.corpus.readers import OnError, Piece
from megalite.tokenizer.load import LoadedTokenizer

SMALLEST_UNIT = 1 << 20
LARGEST_UNIT = 256 << 20
UNITS_WANTED = 64


@dataclass(frozen=True)
class Unit:
    """A piece of work whose result is kept when the job is killed; the fields of ``readers.Piece``."""

    path: str
    start: int
    end: int | None
    size: int
    before: int

    def piece(self) -> Piece:
        """The unit as the readers take it."""
        return Piece(Path(self.path), self.start, self.end, self.size, self.before)


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
    """Cut large files into units of work."""
    inputs = tuple(Input(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    size = min(LARGEST_UNIT, max(SMALLEST_UNIT, sum(item.bytes for item in inputs) // UNITS_WANTED))
    units = [
        Unit(str(piece.path), piece.start, piece.end, piece.size, piece.before)
        for path in paths
        for piece in cut(path, size)
    ]
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
