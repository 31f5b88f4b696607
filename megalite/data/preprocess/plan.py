"""What a preprocessing job will do: which pieces of which files, in which order, and what is made of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from megalite.config.errors import DataError
from megalite.data.preprocess.sentences import splitter_version
from megalite.files.readers.input_files import file_kind
from megalite.files.readers.input_units import InputFile, input_file
from megalite.files.readers.malformed import OnError
from megalite.files.readers.pieces import Piece, cut
from megalite.tokenizer.load import LoadedTokenizer

SMALLEST_UNIT = 4 << 20
LARGEST_UNIT = 256 << 20
UNITS_WANTED = 64
Level = Literal["document", "sentence"]
"""What is one sequence of the dataset; documents are told by the index's boundaries either way."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides the output. Workers and encoder are not in it: the bytes do not depend on them."""

    inputs: tuple[InputFile, ...]
    units: tuple[Piece, ...]
    """Each is a piece of work whose result is kept if the job is killed."""
    tokenizer: str
    tokenizer_fingerprint: str
    vocab_size: int
    eod_id: int | None
    eod_token: str | None
    """Given by the command; None takes the tokenizer's."""
    parse_special_tokens: bool
    """Whether text that spells a special token becomes that token."""
    keys: tuple[str, ...]
    level: Level
    language: str
    splitter: str | None
    """Package and version that find the sentences."""
    on_error: OnError

    def to_json(self) -> str:
        """The content of ``plan.json``."""
        return json.dumps(asdict(self), indent=1, default=str)

    def digest(self) -> str:
        """Equal for equal inputs and options."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def prefixes(self, prefix: Path) -> list[Path]:
        """Where the dataset of each key goes: ``PREFIX`` for one, Megatron's ``PREFIX_KEY_LEVEL`` for several."""
        if len(self.keys) == 1:
            return [prefix]
        return [prefix.with_name(f"{prefix.name}_{key}_{self.level}") for key in self.keys]


def make_plan(
    paths: Sequence[Path],
    tokenizer_path: Path,
    tokenizer: LoadedTokenizer,
    eod_id: int | None,
    keys: Sequence[str],
    level: Level,
    language: str,
    on_error: OnError,
    eod_token: str | None = None,
    parse_special_tokens: bool = False,
) -> Plan:
    """Cut large files into units of work. Raises: DataError for keys or a level that cannot be had."""
    _check_keys(paths, keys)
    inputs = tuple(input_file(path) for path in paths)
    size = min(LARGEST_UNIT, max(SMALLEST_UNIT, sum(item.bytes for item in inputs) // UNITS_WANTED))
    return Plan(
        inputs=inputs,
        units=tuple(piece for path in paths for piece in cut(path, size)),
        tokenizer=str(tokenizer_path),
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        eod_id=eod_id,
        eod_token=eod_token,
        parse_special_tokens=parse_special_tokens,
        keys=tuple(keys),
        level=level,
        language=language,
        splitter=splitter_version() if level == "sentence" else None,
        on_error=on_error,
    )


def _check_keys(paths: Sequence[Path], keys: Sequence[str]) -> None:
    if len(set(keys)) < len(keys) or not keys:
        raise DataError(f"--text_key {' '.join(keys)}: give each key once, at least one")
    if len(keys) == 1:
        return
    for path in paths:
        if file_kind(path) not in ("lines", "parquet"):
            raise DataError(
                f"{path}: holds one text, not {len(keys)} --text_key; give them for jsonl and parquet files"
            )
    for key in keys:
        if "/" in key or "\0" in key:
            raise DataError(f"--text_key {key!r}: names a file where there are several keys; rename it in the input")
