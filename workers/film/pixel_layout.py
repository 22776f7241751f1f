"""Arrangements of the code values of pixel formats, and frames' own memory seen as arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from contract.errors import Unsupported

_DOWN = {"420": (2, 2), "422": (1, 2), "444": (1, 1), "440": (2, 1), "411": (1, 4), "410": (4, 4)}
_SEMIPLANAR = {"nv12": "420", "nv21": "420", "nv16": "422", "nv24": "444", "nv42": "444"}
_PACKED = {"rgb24": (8, "RGB"), "bgr24": (8, "BGR"), "rgb48le": (16, "RGB"), "bgr48le": (16, "BGR")}
_REPACKED = {
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "y210le": "yuv422p10le", "y212le": "yuv422p12le",
    "xv30le": "yuv444p10le", "xv36le": "yuv444p12le", "vuyx": "yuv444p", "rgb0": "rgb24", "bgr0": "rgb24", "0rgb": "rgb24",
    "0bgr": "rgb24", "pal8": "rgb24", "rgb8": "rgb24", "bgr8": "rgb24", "rgb4_byte": "rgb24", "bgr4_byte": "rgb24",
    "rgba": "rgb24", "bgra": "rgb24", "argb": "rgb24", "abgr": "rgb24", "ya8": "gray",
    **{f"{order}{bits}{end}": "rgb24" for order in ("rgb", "bgr") for bits in (444, 555, 565) for end in ("le", "be")},
    **{f"yuva{chroma}p": f"yuv{chroma}p" for chroma in (420, 422, 444)},
    **{f"yuva{c}p{bits}{end}": f"yuv{c}p{bits}le" for c in (420, 422, 444) for bits in (9, 10, 12, 16) for end in ("le", "be")},
    "gbrap": "gbrp", **{f"gbrap{bits}{end}": f"gbrp{bits}le" for bits in (10, 12, 14, 16) for end in ("le", "be")},
    "x2rgb10le": "gbrp10le", "x2bgr10le": "gbrp10le", "monow": "gray", "monob": "gray",
}  # fmt: skip
"""Formats that FFmpeg converts to another arrangement of the same values."""


@dataclass(frozen=True)
class Layout:
    """The arrangement of the values of a pixel format.

    `bits` is the depth, `shift` the bits by which values are shifted left in their words, `down` the vertical and horizontal chroma
    subsampling. `order` lists, for every plane, the channels of the model that interleave in it; the model's channels are
    R G B, or Y Cb Cr, or Y.
    """

    name: str
    model: Literal["yuv", "rgb", "grey"]
    bits: int
    order: tuple[tuple[int, ...], ...]
    down: tuple[int, int] = (1, 1)
    shift: int = 0

    @property
    def plain(self) -> str:
        """The format with the same values that is read and written; FFmpeg converts the others to it and back."""
        return _REPACKED.get(self.name, re.sub("be$", "le", self.name))

    @property
    def word(self) -> type[np.uint8] | type[np.uint16]:
        """The type of a code value in memory."""
        return np.uint8 if self.bits <= 8 else np.uint16


@lru_cache(maxsize=64)
def layout(pix_fmt: str) -> Layout:
    """Return the layout of `pix_fmt` (little-endian, or one that FFmpeg rearranges to it); raise Unsupported for other formats."""
    name = _REPACKED.get(pix_fmt, re.sub("be$", "le", pix_fmt))
    if found := re.fullmatch(r"yuvj?(420|422|444|440|411|410)p(?:(9|10|12|14|16)le)?", name):
        return Layout(pix_fmt, "yuv", int(found[2] or 8), ((0,), (1,), (2,)), _DOWN[found[1]])
    if found := re.fullmatch(r"gray(?:(9|10|12|14|16)le)?", name):
        return Layout(pix_fmt, "grey", int(found[1] or 8), ((0,),))
    if found := re.fullmatch(r"gbrp(?:(9|10|12|14|16)le)?", name):
        return Layout(pix_fmt, "rgb", int(found[1] or 8), ((1,), (2,), (0,)))
    if name in _SEMIPLANAR:
        chroma = (2, 1) if name in ("nv21", "nv42") else (1, 2)
        return Layout(pix_fmt, "yuv", 8, ((0,), chroma), _DOWN[_SEMIPLANAR[name]])
    if found := re.fullmatch(r"p([024])(10|12|16)le", name):
        down = _DOWN[{"0": "420", "2": "422", "4": "444"}[found[1]]]
        return Layout(pix_fmt, "yuv", int(found[2]), ((0,), (1, 2)), down, 16 - int(found[2]))
    if name in _PACKED:
        bits, letters = _PACKED[name]
        return Layout(pix_fmt, "rgb", bits, (tuple("RGB".index(c) for c in letters),))
    raise Unsupported(
        f"pixel format {pix_fmt} is not supported; convert the source to planar or semi-planar YUV, RGB or grey of 8 to 16 bits "
        "without alpha first."
    )


def views(frame: av.VideoFrame, form: Layout) -> list[npt.NDArray[np.uint8 | np.uint16]]:
    """Return the memory of each plane, height x width, of `frame`, which has the format `form.plain` and one channel a plane."""
    return [plane[..., 0] for plane in arrays(frame, form)]


def arrays(frame: av.VideoFrame, form: Layout) -> list[npt.NDArray[np.uint8 | np.uint16]]:
    """Return the memory of each plane, height x width x channels, of `frame`, which has the format `form.plain`."""
    return [rows(p, form, len(members), frame, members) for p, members in zip(frame.planes, form.order, strict=True)]


def is_chroma(form: Layout, channels: tuple[int, ...]) -> bool:
    """Return whether a plane with these channels is one of chroma."""
    return form.model == "yuv" and 0 not in channels


def rows(
    plane: av.video.plane.VideoPlane, form: Layout, interleaved: int, frame: av.VideoFrame, channels: tuple[int, ...]
) -> npt.NDArray[np.uint8 | np.uint16]:
    """Return the plane's memory as height x width x interleaved channels, without the padding at the end of lines."""
    chroma = is_chroma(form, channels)
    height = -(-frame.height // form.down[0]) if chroma else frame.height
    width = -(-frame.width // form.down[1]) if chroma else frame.width
    size = np.dtype(form.word).itemsize
    memory: npt.NDArray[np.uint8] = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]  # a buffer, untyped
    lines = memory[: height * plane.line_size].reshape(height, plane.line_size)
    words: npt.NDArray[np.uint8 | np.uint16] = lines[:, : width * interleaved * size].view(form.word)
    return words.reshape(height, width, interleaved)
