"""The index of a deduplicated dump, with which later dumps are compared without reading its text again."""

import json
from pathlib import Path

from megalite.config.errors import DataError
from megalite.config.explain import validate
from megalite.config.section import Section
from megalite.corpus.dedup.lsh_index import RECORD, SUFFIXES, Part
from megalite.corpus.dedup.minhash import Bands

NAME = "index.json"


class DumpIndex(Section):
    """``index.json``: how the documents were hashed, their paths, and the documents of each part."""

    bands: Bands
    paths: tuple[str, ...]
    documents: tuple[int, ...]
    path_ends: tuple[int, ...] = ()
    """The end of each part's own ``paths``; if empty, every part numbers all of them."""

    def write(self, folder: Path) -> None:
        (folder / NAME).write_text(self.model_dump_json(indent=1) + "\n")


def known_parts(folders: list[Path], bands: Bands) -> list[Part]:
    """The parts of the indexes in these folders.

    Raises: FileNotFoundError; DataError if an index is damaged or was made with other bands.
    """
    parts: list[Part] = []
    first = 0
    for folder in folders:
        path = folder / NAME
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; make the earlier dump's index with --write_index")
        try:
            values = json.loads(path.read_bytes())
        except ValueError as error:
            raise DataError(f"{path}: not JSON: {error}; make the dump again") from None
        index = validate(DumpIndex, values, str(path))
        if index.bands != bands:
            raise DataError(
                f"{path}: made with {_options(index.bands)}, this run has {_options(bands)}; give the same options"
            )
        ends = (0, *index.path_ends)
        for number, documents in enumerate(index.documents):
            paths = index.paths[ends[number] : ends[number + 1]] if index.path_ends else index.paths
            part = Part(folder / f"index-{number:05d}", documents, bands.bands + 1, first, paths)
            _check(part)
            parts.append(part)
            first += documents
    return parts


def _options(bands: Bands) -> str:
    return ", ".join(f"--{key} {value}" for key, value in bands.model_dump().items())


def _check(part: Part) -> None:
    """Raises: DataError if a file of the part does not have its size."""
    table = part.table() if part.path(".table").is_file() and part.documents else None
    wanted = (part.documents * RECORD.itemsize, part.documents * part.columns * 8)
    shingles = int(table["shingles"].sum()) * 8 if table is not None and table.nbytes == wanted[0] else 0
    for suffix, size in zip(SUFFIXES, (*wanted, shingles), strict=True):
        path = part.path(suffix)
        if not path.is_file() or path.stat().st_size != size:
            raise DataError(f"{path}: is not the {size} bytes that {NAME} says; make the dump again")
