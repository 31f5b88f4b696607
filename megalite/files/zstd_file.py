"""Reads ``.zst`` files and raises an error if one is truncated."""

import io
from pathlib import Path
from typing import Any

import zstandard

CHUNK = 1 << 11
"""Compressed bytes per read; few, because 4 bytes can decompress to 128 KiB (RFC 8878, section 3.1.1.2)."""

LARGEST_WINDOW = 1 << 31
"""Maximum window of a frame in bytes: ``zstd --long=31``. Memory grows only with the actual content."""


class ZstdFile(io.RawIOBase):
    """Decompressed bytes of a file of one or more zstd frames.

    If a file ends inside a frame, zstandard's ``stream_reader`` ends without an error, so that a truncated file looks
    complete. This class raises EOFError, like gzip.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Returns the number of bytes read into ``buffer``, 0 at the end. Raises: EOFError; zstandard.ZstdError."""
        while not self._ready:
            self._compressed = self._compressed or self._file.read(CHUNK)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("the file ends inside a compressed frame")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
            self._ready = memoryview(self._frame.decompress(self._compressed))
            self._compressed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
