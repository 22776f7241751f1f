"""Columns of integers (timestamps, positions, durations of all packets) in a film index."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from contract.errors import IntegrityError
from contract.film import MAX_FRAMES


def pack(values: Sequence[int] | npt.NDArray[np.int64]) -> bytes:
    """Deflate the differences of 64-bit integers: a film's constant step costs next to nothing."""
    column = np.asarray(values, dtype=np.int64)
    return zlib.compress(np.diff(column, prepend=np.int64(0)).astype("<i8").tobytes(), 6)


def unpack(data: bytes, limit: int = MAX_FRAMES) -> npt.NDArray[np.int64]:
    """Return the integers of `pack`; raise IntegrityError for anything else or for more than `limit` of them."""
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(data, limit * 8 + 1)
    except zlib.error as error:
        raise IntegrityError(f"a column of the film index cannot be read ({error}); submit the film again.") from error
    if len(plain) % 8 or len(plain) > limit * 8 or not inflate.eof:
        raise IntegrityError(f"a column of the film index holds no whole numbers, or over {limit}; submit it again.")
    return np.cumsum(np.frombuffer(plain, dtype="<i8"), dtype=np.int64)


def lasting(pts: npt.NDArray[np.int64], durations: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each frame's duration: until the next frame; the last as in the source, else as the one before."""
    if len(pts) == 1:
        return np.maximum(durations, 1)
    steps = np.diff(pts)
    last = durations[-1] if durations[-1] > 0 else steps[-1]
    return np.append(steps, last)
