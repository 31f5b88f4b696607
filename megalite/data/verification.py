"""Verifies the checksums of datasets without delaying the start of a run."""

import contextlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import read_json_object
from megalite.data.manifest import FileFacts, file_facts, load_manifest, manifest_path
from megalite.files.whole_file import whole_file

AT_ONCE = 1 << 30
"""Bytes to read before a run starts, about a second; the rest is read in the background."""


@dataclass(frozen=True)
class Checked:
    """A file to compare with its manifest."""

    path: Path
    manifest: Path
    expected: FileFacts

    def stamp(self) -> list[Any]:
        """Returns values that change with the file; a program cannot set the change time of the inode."""
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, self.expected.checksum]

    def verify(self) -> None:
        """Reads the whole file. Raises: DataError if it differs."""
        if file_facts(self.path) != self.expected:
            raise DataError(
                f"{self.path}: differs from its checksum in {self.manifest}; restore the original file, or create the "
                f"data again and start a new run"
            )


class Verification:
    """Compares every file of some datasets with its checksum, small files at once and the rest in a thread.

    A verified file is not read again until its size, times or inode change.
    """

    def __init__(self, prefixes: Sequence[str], record: Path, at_once: int = AT_ONCE) -> None:
        """
        Args:
            record: file with the verified files; it is written if its folder exists.
            at_once: number of bytes to read before this returns.

        Raises: DataError if one of the files read at once differs.
        """
        self._record = record
        self._known = _known(record)
        self._error: Exception | None = None
        files = []
        for prefix in dict.fromkeys(prefixes):
            manifest = load_manifest(prefix)
            for suffix, facts in ((".bin", manifest.bin), (".idx", manifest.idx)):
                files.append(Checked(Path(f"{prefix}{suffix}").resolve(), manifest_path(prefix), facts))
        later = []
        for file in sorted(files, key=lambda file: file.expected.bytes):
            at_once -= file.expected.bytes
            if at_once >= 0:
                self._verify(file)
            else:
                later.append(file)
        self._keep()
        self._thread = threading.Thread(target=self._run, args=(later,), name="verification", daemon=True)
        self._thread.start()

    def raise_if_damaged(self) -> None:
        """Raises: DataError or OSError if the thread has found a file that differs or cannot be read."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Waits until all files are read. Raises: see ``raise_if_damaged``."""
        self._thread.join()
        self.raise_if_damaged()

    def _run(self, files: Sequence[Checked]) -> None:
        try:
            for file in files:
                self._verify(file)
                self._keep()
        except (DataError, OSError) as error:
            self._error = error

    def _verify(self, file: Checked) -> None:
        before = file.stamp()
        if self._known.get(str(file.path)) == before:
            return
        file.verify()
        self._known[str(file.path)] = before

    def _keep(self) -> None:
        if self._record.parent.is_dir():
            with (
                contextlib.suppress(OSError),
                whole_file(self._record) as out,
            ):  # else read again
                out.write(json.dumps(self._known, indent=1).encode())


def _known(record: Path) -> dict[str, Any]:
    """Returns the files verified by earlier runs; none if the record cannot be read."""
    try:
        return read_json_object(record)
    except (ConfigError, OSError):
        return {}
