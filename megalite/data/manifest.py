"""``PREFIX.manifest.json``: the sources of an indexed dataset, and the checksums of its files."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import xxhash
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import read_json_object
from megalite.data.index_file import CODES, file_size, index_bytes

FORMAT = "megalite-indexed-4"
READ_FORMATS = ("megalite-indexed-3", FORMAT)
"""Version 3 had no ``folder``, and paths of sources as given on the command line."""
LARGEST_MANIFEST = 1 << 28
"""Bytes; enough for a million sources or pieces."""
DTYPES = tuple(np.dtype(kind).name for kind in CODES.values() if np.issubdtype(kind, np.integer))
CLOSED = ConfigDict(extra="forbid")
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 62)]


@dataclass(frozen=True)
class FileFacts:
    """Size and checksum of one file."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    bytes: Count
    checksum: Annotated[str, Field(pattern="^xxh3_128:[0-9a-f]{32}$")]
    """``xxh3_128:`` and hex digits. It only has to detect damage, and is forty times as fast as sha256."""


@dataclass(frozen=True)
class Source:
    """One input file."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    path: str
    """Absolute."""
    bytes: Count
    documents: Count
    malformed: Count
    empty: Count


@dataclass(frozen=True)
class SourcePiece:
    """A part of an input file whose documents are consecutive, with the fields of ``readers.pieces.Piece``."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    source: Count | None
    """Number of the file in ``sources``; None if it is unknown, see ``megalite.data.adopt``."""
    start: Count
    end: Count | None
    size: Count
    before: Count
    documents: Count
    """Number of documents in the dataset; they follow those of the pieces before."""


@dataclass(frozen=True)
class Manifest:
    """The description of a dataset. It is written last: a dataset without a manifest is not finished."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    documents: Count
    sequences: Count
    """Equal to ``documents``, or more if each sentence is a sequence."""
    tokens: Count
    text_bytes: Count
    """UTF-8 bytes of the documents; converts a loss per token to bits per byte."""
    dtype: str
    vocab_size: Annotated[Count, Field(ge=1, lt=1 << 31)]
    tokenizer_fingerprint: str
    eod_id: Count | None
    """The token appended to every document, or None."""
    text_key: str
    keys: tuple[str, ...]
    """All keys that the command read, each into its own dataset; a record needs a string under every key."""
    level: Literal["document", "sentence"]
    malformed: Count
    """Number of malformed records, which were skipped."""
    empty: Count
    """Number of records without any tokens, which were left out."""
    plan: str
    """Digest of inputs and options, by which a repeated command recognizes its finished output."""
    sources: tuple[Source, ...]
    pieces: tuple[SourcePiece, ...]
    """The sources of the documents, in their order."""
    bin: FileFacts
    idx: FileFacts
    folder: str = ""
    """The absolute folder in which the manifest was written. If the manifest has moved, its sources may have, too."""
    format: str = FORMAT
    parse_special_tokens: bool = True
    """Whether text that spells a special token became that token; true for manifests without this field."""
    special_spellings: Count | None = None
    """Number of special tokens that the text spells; None if not counted."""
    tokenizer_check: str | None = None
    """How the ids were verified against the tokenizer's own library."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def manifest_path(prefix: str | Path) -> Path:
    """``PREFIX.manifest.json``."""
    return Path(f"{prefix}.manifest.json")


def existing_output(prefix: str | Path) -> list[Path]:
    """Returns those of the three files of a dataset that exist, the manifest last."""
    return [path for path in (Path(f"{prefix}.bin"), Path(f"{prefix}.idx"), manifest_path(prefix)) if path.exists()]


def load_manifest(prefix: str | Path) -> Manifest:
    """Reads and checks the manifest. Raises: FileNotFoundError; DataError if it is damaged or contradicts itself."""
    path = manifest_path(prefix)
    if not path.exists():
        raise FileNotFoundError(missing_manifest(prefix))
    try:
        values = read_json_object(path, "manifest", LARGEST_MANIFEST)
    except ConfigError as error:
        raise DataError(f"{error}; preprocess the data again") from None
    if values.get("format") not in READ_FORMATS:
        raise DataError(f"{path}: format {_short(values.get('format'))} is not {FORMAT!r}; preprocess the data again")
    try:
        manifest = TypeAdapter(Manifest).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise DataError(
            f"{path}: damaged: {key}: {first['msg']}, not {_short(first['input'])}; preprocess the data again"
        ) from None
    for wrong in _contradictions(manifest):
        raise DataError(f"{path}: damaged: {wrong}; preprocess the data again")
    return manifest


def missing_manifest(prefix: str | Path) -> str:
    """Returns the error message for a missing manifest; the remedy depends on the other files."""
    path = manifest_path(prefix)
    if Path(f"{prefix}.bin").is_file() and Path(f"{prefix}.idx").is_file():
        return (
            f"{path}: missing, although {prefix}.bin and .idx exist; if another program created them, run megalite adopt "
            f"{prefix} --tokenizer DIR"
        )
    return f"{path}: missing; create the dataset with megalite preprocess-data, which writes the manifest last"


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yields the contradictions within the manifest."""
    if manifest.dtype not in DTYPES:
        yield f"dtype is {_short(manifest.dtype)}, not one of {', '.join(DTYPES)}"
        return
    if manifest.eod_id is not None and manifest.eod_id >= manifest.vocab_size:
        yield f"eod_id={manifest.eod_id} is not in a vocabulary of {manifest.vocab_size}"
    if manifest.tokens and not manifest.text_bytes:
        yield f"{manifest.tokens} tokens of 0 bytes of text"
    sizes = {
        ".bin": (manifest.bin.bytes, manifest.tokens * np.dtype(manifest.dtype).itemsize),
        ".idx": (manifest.idx.bytes, index_bytes(manifest.sequences, manifest.documents + 1)),
    }
    for suffix, (told, counted) in sizes.items():
        if told != counted:
            yield f"the {suffix} has {told} bytes, and its counts give {counted}"
    owned: Counter[int] = Counter()
    for piece in manifest.pieces:
        if piece.source is not None:
            if piece.source >= len(manifest.sources):
                yield f"a piece is of source {piece.source}, and there are {len(manifest.sources)}"
                return
            owned[piece.source] += piece.documents
    for number, source in enumerate(manifest.sources):
        if owned[number] != source.documents:
            yield f"source {number} has {source.documents} documents, and its pieces {owned[number]}"
    if (found := sum(piece.documents for piece in manifest.pieces)) != manifest.documents:
        yield f"documents={manifest.documents}, and its pieces have {found}"
    for name in ("malformed", "empty"):
        if (found := sum(getattr(source, name) for source in manifest.sources)) != getattr(manifest, name):
            yield f"{name}={getattr(manifest, name)}, and its sources have {found}"


class Counted(Protocol):
    """The counts of an opened dataset."""

    prefix: str
    dtype: np.dtype
    num_tokens: int

    def __len__(self) -> int:
        """Sequences."""

    @property
    def num_documents(self) -> int:
        """Documents."""


def refuse_other_dataset(manifest: Manifest, dataset: Counted) -> None:
    """Raises: DataError if the manifest describes other files than those of the dataset."""
    for name, told, found in (
        ("documents", manifest.documents, dataset.num_documents),
        ("sequences", manifest.sequences, len(dataset)),
        ("tokens", manifest.tokens, dataset.num_tokens),
        ("dtype", manifest.dtype, dataset.dtype.name),
    ):
        if told != found:
            raise DataError(
                f"{dataset.prefix}: {name} is {told} in the manifest and {found} in the files, so they do not match; "
                f"preprocess the data again"
            )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def file_facts(path: Path) -> FileFacts:
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while content := file.read(1 << 20):
            digest.update(content)
    return FileFacts(path.stat().st_size, f"xxh3_128:{digest.hexdigest()}")


def verify_manifest(prefix: str | Path) -> Manifest:
    """Compares both files with their checksums. Raises: DataError with the file that differs."""
    manifest = load_manifest(prefix)
    for suffix, expected in ((".bin", manifest.bin), (".idx", manifest.idx)):
        path = Path(f"{prefix}{suffix}")
        if file_size(path) != expected.bytes or file_facts(path) != expected:
            raise DataError(f"{path}: differs from its checksum in {manifest_path(prefix)}; preprocess the data again")
    return manifest
