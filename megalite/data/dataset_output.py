"""Checks the output of an indexed dataset: ``PREFIX.bin``, ``PREFIX.idx``, ``PREFIX.manifest.json``."""

import os
from collections.abc import Iterable
from pathlib import Path

from megalite.config.errors import DataError
from megalite.data.index_file import MAGIC
from megalite.data.manifest import FORMAT, manifest_path
from megalite.files.own_folder import check_ours, is_ours
from megalite.files.place import check_place

HEAD_BYTES = 1 << 20


def check_dataset_output(prefix: Path, work: Path, inputs: Iterable[str | Path], overwrite: bool) -> None:
    """Refuses a prefix that must not be written, before any work.

    Args:
        work: the temporary folder of the command.
        overwrite: replace existing files, but only those of a dataset.

    Raises: DataError; OSError.
    """
    inputs = list(inputs)
    if prefix.name in ("", "..") or (os.path.lexists(prefix) and not prefix.is_dir()):
        raise DataError(f"{prefix}: cannot be the prefix of new files; give one such as data/web")
    files = [Path(f"{prefix}.bin"), Path(f"{prefix}.idx"), manifest_path(prefix)]
    check_ours(work)
    for path in files:
        check_place(path, inputs)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise DataError(f"{path}: is a link or a folder, but the output is a file; choose another --output")
    there = [path for path in files if path.exists()]
    if overwrite and there and not is_ours(work) and not _is_dataset(files[1], files[2]):
        raise DataError(f"{there[0]}: is not part of a dataset and would be lost; choose another --output")


def _is_dataset(index: Path, manifest: Path) -> bool:
    return _head(index).startswith(MAGIC) or FORMAT.rpartition("-")[0].encode() in _head(manifest)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
