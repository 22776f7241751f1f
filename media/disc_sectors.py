"""Films in raw sectors of a Video CD, read as the program stream that they hold.

A .dat file copied from a Video CD is a RIFF header and the disc's sectors of 2,352 bytes, headers and checksums included
(ECMA-130, CD-ROM XA). Demuxers find packets in it, and take what lies between them for damage.
"""

from __future__ import annotations

import io
from typing import BinaryIO

SECTOR, DATA, PAYLOAD = 2352, 24, 2324
"""Bytes of a sector, where its data begin, and how many a sector of mode 2, form 2 holds."""
SYNC = b"\0" + b"\xff" * 10 + b"\0"
RIFF = 44
"""Bytes of the header of a .dat file."""
TRIED = 4
"""Sectors that must begin with the sync pattern."""


def first_sector(source: BinaryIO) -> int:
    """Return where the first sector of `source` begins, -1 when it does not hold sectors. Leaves it at its start."""
    source.seek(0)
    head = source.read(RIFF + TRIED * SECTOR)
    source.seek(0)
    start = RIFF if head[:4] == b"RIFF" and head[8:12] == b"CDXA" else 0
    for sector in range(TRIED):
        at = start + sector * SECTOR
        if head[at : at + 12] != SYNC or head[at + 15] != 2:
            return -1
    return start


class DiscSectors(io.RawIOBase):
    """The data of the sectors in `source`, one after the other, as a seekable file."""

    def __init__(self, source: BinaryIO, start: int) -> None:
        self._source = source
        self._start = start
        self._at = 0
        size = source.seek(0, io.SEEK_END)
        self._size = (size - start) // SECTOR * PAYLOAD

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        left = self._size - self._at if size < 0 else min(size, self._size - self._at)
        found = []
        while left > 0:
            sector, offset = divmod(self._at, PAYLOAD)
            take = min(left, PAYLOAD - offset)
            self._source.seek(self._start + sector * SECTOR + DATA + offset)
            piece = self._source.read(take)
            if not piece:
                break
            found.append(piece)
            self._at += len(piece)
            left -= len(piece)
        return b"".join(found)

    def readable(self) -> bool:
        """Report that the file can be read."""
        return True

    def seekable(self) -> bool:
        """Report that the file can be moved in."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`; raise ValueError for a place before the beginning."""
        to = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if to < 0:
            raise ValueError(f"a place {to} before the beginning")
        self._at = to
        return to

    def tell(self) -> int:
        """Return the place."""
        return self._at


def without_sectors(source: BinaryIO) -> BinaryIO:
    """Return the data of a disc's sectors, or `source` itself when it holds none, at its start."""
    start = first_sector(source)
    return source if start < 0 else DiscSectors(source, start)  # type: ignore[return-value]
