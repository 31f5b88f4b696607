"""A file that gets its name only when it is complete."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path, flush: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when the block ends; after an error an existing file is unchanged.

    Until then it has a unique hidden name beside ``path``.

    Args:
        flush: force the content to the disk before the rename; not needed if a checksum is verified later.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
