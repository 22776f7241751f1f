"""Boxes of JPEG 2000 and JPEG XL files: a length, a type and content, one after another. ITU-T T.800 annex I.4; ISO/IEC 18181-2."""

from __future__ import annotations

from collections.abc import Iterator

_MOST = 1000
"""Boxes that are read of one file."""


def boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each box in [at, end); ends quietly where the structure does."""
    for _ in range(_MOST):
        if at + 8 > end:
            return
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else min(end, at + size)
        if stop < start:
            return
        yield kind, data[start:stop]
        at = stop
