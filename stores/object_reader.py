"""A file-like view of an object, read in blocks."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_BLOCK = 4 << 20


class Reader(io.RawIOBase):
    """A seekable stream over one object, for demuxers.

    `read_range(start, stop)` returns those bytes; `size` is the object's. `blocks` blocks of 4 MiB are kept,
    the least recently used one goes first: enough for a demuxer that hops between a few interleaved places.
    """

    def __init__(self, read_range: Callable[[int, int], bytes], size: int, blocks: int = 6) -> None:
        super().__init__()
        self._read_range, self.size = read_range, size
        self._at, self._limit = 0, blocks
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; nothing is read yet."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the present position; return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._at < self.size:
            number, offset = divmod(self._at, _BLOCK)
            part = self._block(number)[offset : offset + len(view) - filled]
            view[filled : filled + len(part)] = part
            filled += len(part)
            self._at += len(part)
        return filled

    def _block(self, number: int) -> bytes:
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
            start = number * _BLOCK
            data = self._read_range(start, min(start + _BLOCK, self.size))
            self._blocks[number] = data
            if len(self._blocks) > self._limit:
                self._blocks.popitem(last=False)
            return data
