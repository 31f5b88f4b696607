"""Are the files of a dataset those that its manifest describes? Told without delaying the start of a run."""

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
"""Bytes that are read before a run starts, about a second; what is more is read in the background."""


@dataclass(frozen=True)
class Checked:
    """A file to be compared with its manifest."""

    path: Path
    manifest: Path
    expected: FileFacts

    def stamp(self) -> list[Any]:
        """What changes when the file does; the time of the last change of the inode cannot be set by a program."""
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, self.expected.checksum]

    def verify(self) -> None:
        """Read all of it. Raises: DataError where it differs."""
        if file_facts(self.path) != self.expected:
            raise DataError(
                f"{self.path}: differs from its checksum in {self.manifest}; bring back the file that it was, or make the "
                f"data again and start a new run"
            )


class Verification:
    """Reads every file of some datasets once and compares its checksum, the small ones now and the rest in a thread.

    A file that was found right is not read again until its size, its times or its inode change.
    """

    def __init__(self, prefixes: Sequence[str], record: Path, at_once: int = AT_ONCE) -> None:
        """Begin.

        Args:
            record: file that keeps which files were found right; it is written once its folder is there.
            at_once: bytes to read before this returns.

        Raises: DataError where a file that was read by then differs.
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
        """Raises: DataError, or the OSError of a file that could not be read, once one was met; costs nothing."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until everything is read. Raises: as ``raise_if_damaged``."""
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
            with contextlib.suppress(OSError), whole_file(self._record) as out:  # without it they are read again
                out.write(json.dumps(self._known, indent=1).encode())


def _known(record: Path) -> dict[str, Any]:
    """What an earlier run has found right; nothing where the file is not readable."""
    try:
        return read_json_object(record)
    except (ConfigError, OSError):
        return {}
