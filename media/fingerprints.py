"""Fingerprints of decoded frames: 32 bits over the visible samples, before any conversion.

A worker and the witness each make their own of every frame of a film. Lines are taken without the padding after them,
so that equal pictures in differently aligned buffers have equal fingerprints.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from media.codecs import choose_pix_fmt, same_samples

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame

ABSENT = 0
"""In place of the fingerprint of a frame that there is none of."""
Prints = npt.NDArray[np.uint32]

_UNUSED = {"bgr0": slice(3), "rgb0": slice(3), "0bgr": slice(1, 4), "0rgb": slice(1, 4)}
"""Formats of four bytes of which one means nothing, and the three that do."""


def fingerprint(frame: VideoFrame) -> int:
    """Return the CRC-32 of the samples of `frame`, plane after plane; never ABSENT."""
    total = 0
    for number, plane in enumerate(frame.planes):
        data = np.frombuffer(memoryview(plane), np.uint8)
        if plane.line_size:  # a palette has no lines
            used = _line_bytes(frame.format, number, plane.width)
            data = data.reshape(plane.height, plane.line_size)[:, :used]
            if frame.format.name in _UNUSED:
                data = data.reshape(plane.height, plane.width, 4)[..., _UNUSED[frame.format.name]]
        total = zlib.crc32(np.ascontiguousarray(data).data, total)
    return total or 1


def ffv1_fingerprint(frame: VideoFrame) -> int:
    """Return the fingerprint that `frame` has after it was stored in an FFV1 run."""
    pix_fmt, _ = choose_pix_fmt("ffv1", frame.format.name, None)
    return fingerprint(same_samples(frame, pix_fmt))


def pack_prints(values: Prints) -> bytes:
    """Return fingerprints as bytes, four each."""
    return values.astype("<u4").tobytes()


def unpack_prints(data: bytes) -> Prints:
    """Return the fingerprints of `pack_prints`."""
    return np.frombuffer(data, "<u4").astype(np.uint32)


def _line_bytes(form: VideoFormat, plane: int, width: int) -> int:
    """Return how many bytes of a line of `plane` hold samples."""
    planes = {component.plane for component in form.components}
    if len(planes) == 1:
        return (width * form.padded_bits_per_pixel + 7) // 8
    own = [component for component in form.components if component.plane == plane]
    return width * sum((component.bits + 7) // 8 for component in own)
