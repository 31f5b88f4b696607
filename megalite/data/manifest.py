"""``PREFIX.manifest.json``: what an indexed dataset was made of, and checksums of its files."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import xxhash

from megalite.config.errors import DataError

FORMAT = "megalite-indexed-3"


@dataclass(frozen=True)
class FileFacts:
    """Size and checksum of one file."""

    bytes: int
    checksum: str
    """``xxh3_128:`` and its hex digits: it finds damage forty times as fast as sha256, and no more is asked of it."""


@dataclass(frozen=True)
class Source:
    """One input file."""

    path: str
    """As the command named it."""
    bytes: int
    documents: int
    malformed: int
    empty: int


@dataclass(frozen=True)
class SourcePiece:
    """A part of an input file whose documents stand together, in its order; the fields of ``readers.Piece``, and:"""

    source: int
    """The number of the file in ``sources``."""
    start: int
    end: int | None
    size: int
    before: int
    documents: int
    """That were written; those of the pieces before them come first."""


@dataclass(frozen=True)
class Manifest:
    """Facts that are written last: a dataset without its manifest is not finished."""

    documents: int
    sequences: int
    """As many as documents, or more where each sentence is one."""
    tokens: int
    text_bytes: int
    """UTF-8 bytes of the documents' text; with ``tokens`` this turns a loss into bits per byte."""
    dtype: str
    vocab_size: int
    tokenizer_fingerprint: str
    eod_id: int | None
    """The token appended to every document; None where none was."""
    text_key: str
    keys: tuple[str, ...]
    """All that the command read, into a dataset each; a record without a string under one of them was malformed."""
    level: Literal["document", "sentence"]
    malformed: int
    """Lines or rows that were skipped because nothing could be read from them."""
    empty: int
    """Records without a token under any key, left out."""
    plan: str
    """Digest of inputs and options; the same command recognises its own finished work by it."""
    sources: tuple[Source, ...]
    pieces: tuple[SourcePiece, ...]
    """Where the documents came from, in their order."""
    bin: FileFacts
    idx: FileFacts
    format: str = FORMAT

    def to_json(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=2) + "\n"


def manifest_path(prefix: str | Path) -> Path:
    """``PREFIX.manifest.json``."""
    return Path(f"{prefix}.manifest.json")


def existing_output(prefix: str | Path) -> list[Path]:
    """Which of the three files of a dataset are there, the manifest last."""
    return [path for path in (Path(f"{prefix}.bin"), Path(f"{prefix}.idx"), manifest_path(prefix)) if path.exists()]


def load_manifest(prefix: str | Path) -> Manifest:
    """Read it. Raises: FileNotFoundError, DataError."""
    path = manifest_path(prefix)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: missing; preprocess the data with tools/preprocess_data.py, which writes it when all is done"
        )
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        if values.get("format") != FORMAT:
            raise DataError(f"{path}: format {values.get('format')!r}; {FORMAT!r} is read")
        values["sources"] = tuple(Source(**source) for source in values["sources"])
        values["keys"] = tuple(values["keys"])
        values["pieces"] = tuple(SourcePiece(**piece) for piece in values["pieces"])
        return Manifest(**values | {name: FileFacts(**values[name]) for name in ("bin", "idx")})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); preprocess the data again") from None


def file_facts(path: Path) -> FileFacts:
    """Size and checksum of a file."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while content := file.read(1 << 20):
            digest.update(content)
    return FileFacts(path.stat().st_size, f"xxh3_128:{digest.hexdigest()}")


def verify_manifest(prefix: str | Path) -> Manifest:
    """Compare both files with their checksums. Raises: DataError naming the file that differs."""
    manifest = load_manifest(prefix)
    for suffix, expected in ((".bin", manifest.bin), (".idx", manifest.idx)):
        path = Path(f"{prefix}{suffix}")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; preprocess the data again")
        if file_facts(path) != expected:
            raise DataError(f"{path}: differs from its checksum in {manifest_path(prefix)}; preprocess the data again")
    return manifest
