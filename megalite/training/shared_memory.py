"""Remove stale shared-memory buffers of DeepSpeed.

Its CPU all-reduce for inference allocates 69 MB per rank in /dev/shm and never unlinks them. Our ranks do not use that op
(see ``megalite.training.distributed``), but other DeepSpeed programs of the same user may.
"""

import os
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PATTERN = "deepspeed_allreduce_buffer_*"


def remove_stale_buffers(folder: Path = SHARED_MEMORY, pattern: str = PATTERN) -> list[Path]:
    """Unlink the user's DeepSpeed buffers that no living process has mapped; returns the removed paths."""
    ours = {path: _identity(path) for path in folder.glob(pattern)}
    if not any(ours.values()):
        return []
    mapped = _mapped_files()
    stale = [path for path, identity in ours.items() if identity is not None and identity not in mapped]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def _identity(path: Path) -> tuple[str, int] | None:
    """Device and inode as in a memory map; None if the file is another user's, or gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if status.st_uid != os.getuid():
        return None
    return f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", status.st_ino


def _mapped_files() -> set[tuple[str, int]]:
    """Device and inode of every file in the memory maps of all processes that we may read.

    Not the paths: glibc maps a semaphore under a temporary name and renames it then.
    """
    mapped: set[tuple[str, int]] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text().splitlines()
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
        for line in lines:
            _, _, _, device, inode, *path = line.split(maxsplit=5)
            if path:
                mapped.add((device, int(inode)))
    return mapped
