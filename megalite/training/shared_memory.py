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
    ours = [path for path in folder.glob(pattern) if path.stat().st_uid == os.getuid()]
    if not ours:
        return []
    mapped = _mapped_files()
    stale = [path for path in ours if str(path) not in mapped]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def _mapped_files() -> set[str]:
    """Paths under /dev/shm in the memory maps of all processes that we may read."""
    mapped: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text().splitlines()
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
        mapped.update(line.split(maxsplit=5)[5] for line in lines if "/dev/shm/" in line)
    return mapped
