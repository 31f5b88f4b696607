"""Reading ``.zst`` files, with an error where one was cut."""

import io
from pathlib import Path
from typing import Any

import zstandard

CHUNK = 1 << 11
"""Compressed bytes taken at once; few, because a block of 4 bytes can unfold to 128 KiB (RFC 8878, section 3.1.1.2)."""

LARGEST_WINDOW = 1 << 31
"""Bytes that a frame may refer back to: ``zstd --long=31``. Memory grows with what the frame really holds."""


class ZstdFile(io.RawIOBase):
    """Decompressed bytes of a file of one or more zstd frames.

    zstandard's own ``stream_reader`` ends quietly where a file stops inside a frame. This raises EOFError there, as gzip
    does; else half a file would pass for a whole one.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``."""
        self._file = path.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill some of ``buffer``; 0 at the end. Raises: EOFError inside a frame; zstandard.ZstdError."""
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
        """Close the file."""
        self._file.close()
        super().close()
