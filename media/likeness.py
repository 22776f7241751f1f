"""Likeness of frames: a coarse picture of each, small enough to keep, which survives enlarging, filtering and encoding.

Fingerprints prove that a frame was decoded rightly; after the network no sample is the same any more. The coarse picture
of a delivered frame can still be held against that of the frame which was decoded for it, and tells frames that changed
places, or that are no picture of the source at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

GRID = 8
"""Blocks along each side of the coarse picture."""
SIZE = GRID * GRID
"""Bytes of a coarse picture."""
_LINES = 128
"""Lines that are looked at, about: means of blocks do not need all of a large frame."""
_BLACK, _WHITE = 16, 235
"""Limits of luma in limited range; networks work in RGB, which has nothing outside of them."""

Looks = npt.NDArray[np.float32]
"""Coarse pictures of frames as numbers: N x SIZE, code values of 255."""


def coarse_picture(frame: VideoFrame) -> bytes:
    """Return the mean luma of GRID x GRID blocks of `frame`, row after row, as bytes."""
    luma, depth = luma_of(frame)
    luma = luma[:: max(1, len(luma) // _LINES)]
    if frame.color_range != ColorRange.JPEG and not (frame.format.is_rgb or frame.format.has_palette):
        luma = np.clip(luma, _BLACK << (depth - 8), _WHITE << (depth - 8))
    rows, columns = (_edges(length) for length in luma.shape)
    sums = np.add.reduceat(np.add.reduceat(luma, rows, axis=0, dtype=np.uint32), columns, axis=1, dtype=np.uint64)
    counts = np.outer(_lengths(rows, luma.shape[0]), _lengths(columns, luma.shape[1]))
    return np.rint(sums / counts / (1 << (depth - 8))).astype(np.uint8).tobytes()


def unpack_looks(data: bytes) -> npt.NDArray[np.uint8]:
    """Return coarse pictures that were joined to one string of bytes: N x SIZE."""
    return np.frombuffer(data, np.uint8).reshape(-1, SIZE)


def luma_of(frame: VideoFrame) -> tuple[npt.NDArray[Any], int]:
    """Return the luma samples of a frame, H x W, and their bits."""
    form = frame.format
    first = form.components[0]
    if form.is_rgb or form.has_palette or form.is_bit_stream or first.bits < 8:
        frame = frame.reformat(format="gray")
    elif sum(component.plane == first.plane for component in form.components) > 1:
        frame = frame.reformat(
            format="yuv444p" if first.bits == 8 else "yuv444p16le"
        )  # keeps the range, as grey does not
    form, first = frame.format, frame.format.components[0]
    plane = frame.planes[0]
    wide = first.bits > 8
    samples = np.frombuffer(memoryview(plane), np.dtype(">u2" if form.is_big_endian else "<u2") if wide else np.uint8)
    lines = samples.reshape(plane.height, plane.line_size // samples.itemsize)[:, : plane.width]
    return lines, first.bits


def _edges(length: int) -> npt.NDArray[np.intp]:
    """Return where GRID blocks begin along `length` samples; blocks share samples where there are fewer."""
    return np.minimum(np.arange(GRID) * length // GRID, length - 1).astype(np.intp)


def _lengths(edges: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    """Return the samples of each block, as `np.add.reduceat` counts them."""
    return np.maximum(np.diff(np.append(edges, length)), 1)
