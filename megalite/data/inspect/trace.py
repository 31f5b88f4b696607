"""Traces a document of an indexed dataset back to the file and line it was read from."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import Manifest, Source, SourcePiece, load_manifest, manifest_path, refuse_other_dataset
from megalite.files.readers.documents import Document, read_piece
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.pieces import Piece
from megalite.tokenizer.load import LoadedTokenizer


class UntraceableError(DataError):
    """The origin of a document is not available: its source is missing, has changed, or was never known."""


@dataclass(frozen=True)
class Origin:
    """The origin of a document."""

    path: str
    """The file that was preprocessed."""
    line: int
    """Line of a jsonl file, row of a parquet file or record of an archive, counted from 1."""
    first_place: str | None
    """``path:line`` in the raw corpus, if the file is a shard of ``tools/prepare_corpus.py``."""
    text: str
    is_same: bool | None
    """Whether encoding the text again gives the ids of the dataset; None without a tokenizer and for sentences."""


def trace_documents(
    dataset: IndexedDataset, numbers: Iterable[int], tokenizer: LoadedTokenizer | None = None
) -> dict[int, Origin]:
    """The origin of each document, found by reading the pieces of the source files again.

    Args:
        tokenizer: the dataset's tokenizer, to encode the texts and compare them with the dataset.

    Raises: UntraceableError if a source is missing or has changed; FileNotFoundError without a manifest; DataError.
    """
    manifest = load_manifest(dataset.prefix)
    if tokenizer is not None and tokenizer.fingerprint != manifest.tokenizer_fingerprint:
        raise DataError(f"{dataset.prefix}: was made with another tokenizer; use the one it was made with")
    if tokenizer is not None:
        tokenizer.tokenizer.encode_special_tokens = not manifest.parse_special_tokens
    refuse_other_dataset(manifest, dataset)
    firsts = list(accumulate((piece.documents for piece in manifest.pieces), initial=0))
    wanted: dict[int, list[int]] = {}
    for number in sorted(set(numbers)):
        wanted.setdefault(bisect_right(firsts, number) - 1, []).append(number)
    found: dict[int, Origin] = {}
    for place, inside in wanted.items():
        piece = manifest.pieces[place]
        if piece.source is None:
            raise UntraceableError(
                f"{dataset.prefix}: document {inside[0]:,} was adopted from another program's files, which do not name "
                f"their sources"
            )
        source = manifest.sources[piece.source]
        path = source_path(dataset.prefix, manifest, source)
        written = _written(manifest, piece, source, path, tokenizer)
        position = firsts[place]
        for number in inside:
            document = next(islice(written, number - position, None), None)
            if document is None:
                raise UntraceableError(
                    f"{path}: holds fewer documents than when {dataset.prefix} was made from it; it has changed since"
                )
            position = number + 1
            found[number] = _origin(dataset, number, document, manifest, tokenizer)
    return found


def source_path(prefix: str | Path, manifest: Manifest, source: Source) -> Path:
    """The path of a source, or its new path if it was moved together with the manifest."""
    path = Path(source.path)
    if not path.is_file() and manifest.folder:
        moved = manifest_path(prefix).parent.resolve() / os.path.relpath(path, manifest.folder)
        if moved.is_file():
            return Path(os.path.normpath(moved))
    return path


def _written(
    manifest: Manifest, piece: SourcePiece, source: Source, path: Path, tokenizer: LoadedTokenizer | None
) -> Iterator[Document]:
    """The documents of a piece that are in the dataset: all except those without a token under any key."""
    if not path.is_file():
        raise UntraceableError(
            f"{path}: the source is missing, its documents cannot be traced; restore it at this path"
        )
    if (size := path.stat().st_size) != source.bytes:
        raise UntraceableError(
            f"{path}: has {size} bytes, it had {source.bytes} when the data was made; it has changed since"
        )
    records = _records(manifest, Piece(path, piece.start, piece.end, piece.size, piece.before))
    if not source.empty:
        yield from (document for document, _ in records)
        return
    if tokenizer is None:
        raise UntraceableError(
            f"{path}: {source.empty} of its documents have no token; give --tokenizer to find out which"
        )
    for document, others in records:
        texts = (document.text, *others)
        if manifest.level == "sentence":  # whitespace around sentences is not encoded
            texts = tuple(text.strip() for text in texts)
        if any(tokenizer.tokenizer.encode(text, add_special_tokens=False).ids for text in texts):
            yield document


def _records(manifest: Manifest, piece: Piece) -> Iterator[tuple[Document, tuple[str, ...]]]:
    """The documents of a piece, each with its texts under the other keys; records that lack one are skipped."""
    others = [key for key in manifest.keys if key != manifest.text_key]
    columns = [read_piece(piece, key, "skip", ReadReport()) for key in (manifest.text_key, *others)]
    rows: list[Document | None] = [next(column, None) for column in columns]
    while None not in rows:
        documents = [row for row in rows if row is not None]
        last = max(document.line for document in documents)
        if all(document.line == last for document in documents):
            yield documents[0], tuple(document.text for document in documents[1:])
            last += 1
        rows = [
            next(column, None) if document.line < last else document
            for column, document in zip(columns, documents, strict=True)
        ]


def _origin(
    dataset: IndexedDataset, number: int, document: Document, manifest: Manifest, tokenizer: LoadedTokenizer | None
) -> Origin:
    is_same = None
    if tokenizer is not None and manifest.level == "document":
        ids = tokenizer.tokenizer.encode(document.text, add_special_tokens=False).ids
        end = [manifest.eod_id] if ids and manifest.eod_id is not None else []
        is_same = dataset.document(number).tolist() == ids + end
    place = document.meta.get("place")
    return Origin(document.path, document.line, place if isinstance(place, str) else None, document.text, is_same)
