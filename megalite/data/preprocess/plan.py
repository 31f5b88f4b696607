"""What a preprocessing job does: the pieces of the input files in their order, and what is made of them."""

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
"""What is one sequence of the dataset; the index marks documents either way."""
EncoderChoice = Literal["auto", "gigatoken", "fastokens", "tokenizers"]


@dataclass(frozen=True)
class PreprocessOptions:
    """What :func:`~megalite.data.preprocess.command.preprocess` makes of the inputs."""

    keys: Sequence[str] = ("text",)
    """JSON keys or parquet columns with text; each becomes a dataset."""
    level: Level = "document"
    language: str = "en"
    """ISO 639-1 code, for the rules of ``level="sentence"``."""
    encoder: EncoderChoice = "auto"
    """All encoders give the same ids."""
    append_eod: bool = True
    """Append the end-of-document token to every document."""
    eod_token: str | None = None
    """The end-of-document token; by default the tokenizer's eos."""
    parse_special_tokens: bool = False
    """Whether text that spells a special token becomes that token."""
    on_error: OnError = "skip"
    """What a malformed record does."""
    max_malformed: float | None = None
    """Malformed records that are accepted: below 1 a share, from 1 a number; None for the default of 1 %."""


@dataclass(frozen=True)
class PreprocessPlan:
    """Everything that decides the output. Workers and encoder are not in it: the bytes do not depend on them."""

    inputs: tuple[InputFile, ...]
    units: tuple[Piece, ...]
    """Each is a piece of work whose result is kept if the job is killed."""
    tokenizer: str
    tokenizer_fingerprint: str
    vocab_size: int
    eod_id: int | None
    eod_token: str | None
    """From the command line; None for the tokenizer's own."""
    parse_special_tokens: bool
    """Whether text that spells a special token becomes that token."""
    keys: tuple[str, ...]
    level: Level
    language: str
    splitter: str | None
    """Package and version that split sentences."""
    on_error: OnError

    def to_json(self) -> str:
        """The content of ``plan.json``."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def from_json(cls, content: str) -> "PreprocessPlan":
        """The inverse of :meth:`to_json`. Raises: ValueError, KeyError or TypeError for other content."""
        values = json.loads(content)
        values["inputs"] = tuple(InputFile(**item) for item in values["inputs"])
        values["units"] = tuple(Piece(**item | {"path": Path(item["path"])}) for item in values["units"])
        return cls(**values | {"keys": tuple(values["keys"])})

    def digest(self) -> str:
        """Equal for equal inputs and options."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def prefixes(self, prefix: Path) -> list[Path]:
        """The output of each key: ``PREFIX`` for one key, Megatron's ``PREFIX_KEY_LEVEL`` for several."""
        if len(self.keys) == 1:
            return [prefix]
        return [prefix.with_name(f"{prefix.name}_{key}_{self.level}") for key in self.keys]


def make_plan(
    paths: Sequence[Path], tokenizer_path: Path, tokenizer: LoadedTokenizer, options: PreprocessOptions
) -> PreprocessPlan:
    """Cut large files into units. Raises: DataError if a key, the level or the end-of-document token is not available."""
    _check_keys(paths, options.keys)
    if options.append_eod and tokenizer.eos_id is None:
        raise DataError(
            f"{tokenizer_path}: does not say which token ends a document; give --eod_token or --no-append_eod"
        )
    inputs = tuple(input_file(path) for path in paths)
    size = min(LARGEST_UNIT, max(SMALLEST_UNIT, sum(item.bytes for item in inputs) // UNITS_WANTED))
    return PreprocessPlan(
        inputs=inputs,
        units=tuple(piece for path in paths for piece in cut(path, size)),
        tokenizer=str(tokenizer_path),
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        eod_id=tokenizer.eos_id if options.append_eod else None,
        eod_token=options.eod_token,
        parse_special_tokens=options.parse_special_tokens,
        keys=tuple(options.keys),
        level=options.level,
        language=options.language,
        splitter=splitter_version() if options.level == "sentence" else None,
        on_error=options.on_error,
    )


def _check_keys(paths: Sequence[Path], keys: Sequence[str]) -> None:
    if len(set(keys)) < len(keys) or not keys:
        raise DataError(f"--text_key {' '.join(keys)}: give each key once, at least one")
    if len(keys) == 1:
        return
    for path in paths:
        if file_kind(path) not in ("lines", "parquet"):
            raise DataError(
                f"{path}: holds one text, not {len(keys)} keys; give several --text_key for jsonl and parquet files only"
            )
    for key in keys:
        if "/" in key or "\0" in key:
            raise DataError(f"--text_key {key!r}: would be part of a file name; rename it in the input")
