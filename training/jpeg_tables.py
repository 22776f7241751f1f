"""The quality of JPEG files, from their quantisation tables: exact for tables that libjpeg scales from the standard's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_DQT, _SOS = 0xDB, 0xDA
_ALONE = {0x01, *range(0xD0, 0xDA)}
_MOST = 64 << 20
_ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)  # fmt: skip
_LUMA = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
     14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)  # fmt: skip
"""ITU-T T.81, table K.1."""

Table = npt.NDArray[np.int64]
"""64 quantiser steps in natural order."""


@dataclass(frozen=True)
class Quality:
    """The quality of a JPEG file on libjpeg's scale; `exact` when its table is exactly the standard's at that quality."""

    value: int
    exact: bool
    table: Table


def quality(path: Path) -> Quality | None:
    """Return the quality of a JPEG file by its luma table; None for another file or one without tables."""
    with path.open("rb") as file:
        data = file.read(_MOST)
    table = luma_table(data)
    if table is None:
        return None
    distances = {q: int(np.abs(standard(q) - table).sum()) for q in range(1, 101)}
    best = min(distances, key=lambda q: (distances[q], -q))
    return Quality(best, distances[best] == 0, table)


def standard(value: int) -> Table:
    """Return the standard's luma table at a quality of libjpeg's, in natural order."""
    scale = 5000 // value if value < 50 else 200 - value * 2
    return np.asarray(np.clip((_LUMA * scale + 50) // 100, 1, 255), np.int64)


def luma_table(data: bytes) -> Table | None:
    """Return the luma table of a JPEG file's bytes, None without one: the table of number 0 before the first scan."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _SOS:
            return None
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _DQT:
            found = _table_of(data[at + 4 : at + 2 + size])
            if found is not None:
                return found
        at += 2 + size
    return None


def _table_of(body: bytes) -> Table | None:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        width = 2 if wide else 1
        values = np.frombuffer(body[at + 1 : at + 1 + 64 * width], ">u2" if wide else "u1")
        if len(values) < 64:
            return None
        if number == 0:
            table = np.zeros(64, np.int64)
            table[list(_ZIGZAG)] = values
            return table
        at += 1 + 64 * width
    return None
