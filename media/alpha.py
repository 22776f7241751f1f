"""The alpha of frames: read as code values, and put back on opaque frames."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

from contract.errors import Unsupported
from media.codecs import opaque_name, pixel_class

Alpha = npt.NDArray[Any]

PACKED = {"rgba": (4, 3), "bgra": (4, 3), "argb": (4, 0), "abgr": (4, 0), "ya8": (2, 1)}
"""Bytes of a pixel and the place of its alpha, of packed formats of 8 bits."""


def alpha_of(frame: av.VideoFrame) -> Alpha:
    """Return the alpha of a frame, H x W code values of the format's depth. Raises Unsupported for other formats."""
    name = frame.format.name
    if name.endswith("be"):
        frame = frame.reformat(format=name[:-2] + "le")
        name = frame.format.name
    if name in PACKED:
        size, place = PACKED[name]
        plane = frame.planes[0]
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        return lines[:, : frame.width * size].reshape(frame.height, frame.width, size)[:, :, place].copy()
    if len(frame.planes) < 2 or not pixel_class(name).alpha:
        raise Unsupported(f"the alpha of {name} cannot be read; convert the film to yuva444p or rgba first.")
    return _plane(frame, len(frame.planes) - 1).copy()


def with_alpha(frame: av.VideoFrame, alpha: Alpha, pix_fmt: str, depth: int) -> av.VideoFrame:
    """Return an opaque frame in `pix_fmt`, which adds the `alpha` of `depth` bits."""
    new = av.VideoFrame(frame.width, frame.height, pix_fmt)
    wanted = pixel_class(pix_fmt).depth
    if wanted != depth:
        scaled = alpha.astype(np.float64) * ((1 << wanted) - 1) / ((1 << depth) - 1)
        alpha = np.rint(scaled).astype(np.uint8 if wanted <= 8 else np.uint16)
    if pix_fmt in PACKED:
        size, place = PACKED[pix_fmt]
        had = 1 if pix_fmt == "ya8" else size  # its opaque format is grey, the others keep an unused byte
        lines = np.zeros((frame.height, frame.width, size), np.uint8)
        lines[:, :, :had] = _lines(frame, 0, np.uint8)[:, : frame.width * had].reshape(frame.height, frame.width, had)
        lines[:, :, place] = alpha
        _fill(new, 0, lines.reshape(frame.height, frame.width * size))
    else:
        for number in range(len(frame.planes)):
            _fill(new, number, _plane(frame, number))
        _fill(new, len(new.planes) - 1, alpha)
    new.colorspace, new.color_range = frame.colorspace, frame.color_range
    new.color_primaries, new.color_trc = frame.color_primaries, frame.color_trc
    return new


def transparent(frame: av.VideoFrame) -> bool:
    """Report whether any pixel of a frame is not opaque."""
    alpha = alpha_of(frame)
    return bool((alpha < (1 << pixel_class(frame.format.name).depth) - 1).any())


def carries_alpha(pix_fmt: str) -> bool:
    """Report whether `pix_fmt` has an alpha that is read here."""
    return opaque_name(pix_fmt) != pix_fmt


def _word(frame: av.VideoFrame) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if pixel_class(frame.format.name).depth <= 8 else np.uint16


def _lines(frame: av.VideoFrame, number: int, word: type[np.unsignedinteger[Any]]) -> Alpha:
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), word).reshape(plane.height, plane.line_size // np.dtype(word).itemsize)


def _plane(frame: av.VideoFrame, number: int) -> Alpha:
    return _lines(frame, number, _word(frame))[:, : frame.planes[number].width]


def _fill(frame: av.VideoFrame, number: int, values: Alpha) -> None:
    plane = frame.planes[number]
    lines = np.zeros((plane.height, plane.line_size // values.dtype.itemsize), values.dtype)
    lines[:, : values.shape[1]] = values
    plane.update(lines.tobytes())
