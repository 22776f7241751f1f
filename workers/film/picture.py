"""A frame as filters over time see it: its code values, and a small smooth luma by which frames are aligned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from media.alpha import alpha_of, carries_alpha, with_alpha
from media.codecs import opaque_name, pixel_class
from workers.film.colour_tags import tag
from workers.film.pixel_layout import arrays, layout

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour

Plane = npt.NDArray[Any]

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in luma (ITU-R BT.601-7): near enough for aligning, whatever the film's own matrix."""
LARGE = 300
"""Height and width in pixels from which on half of them is enough to align pictures."""
SMOOTHING = 1.0
"""Standard deviation in pixels of the Gaussian blur of the small luma: grain must not lead the alignment."""


COARSE = re.compile(r"pal8|mono[bw]|(rgb|bgr)(8|4_byte|(444|555|565)[bl]e)")
"""Pixel formats that have fewer values than a filter makes."""


class Picture:
    """The code values of one frame. `planes` are height x width (x channels), in the format's own arrangement."""

    def __init__(self, frame: VideoFrame) -> None:
        self.frame = frame
        self.form = layout(frame.format.name)
        plain = frame if frame.format.name == self.form.plain else frame.reformat(format=self.form.plain)
        self.planes: list[Plane] = [
            np.right_shift(plane, self.form.shift) if self.form.shift else plane for plane in arrays(plain, self.form)
        ]
        self._plain = plain  # it owns the memory of `planes`

    @property
    def shape(self) -> tuple[int, int, str]:
        """Height, width and pixel format: only pictures of one shape are compared."""
        return self.frame.height, self.frame.width, self.frame.format.name

    @property
    def step(self) -> float:
        """Code values for one step of an 8-bit scale."""
        return float(1 << (self.form.bits - 8)) if self.form.bits > 8 else 1.0

    def luma(self) -> npt.NDArray[np.float32]:
        """Return luma, height x width, on the scale of 8 bits. It is not kept: a window holds many pictures."""
        if self.form.model == "rgb":
            channels = {
                c: p[..., k] for p, g in zip(self.planes, self.form.order, strict=True) for k, c in enumerate(g)
            }
            luma = sum(np.float32(weight) * channels[c].astype(np.float32) for c, weight in enumerate(LUMA))
        else:
            luma = self.planes[0][..., 0].astype(np.float32)
        return np.asarray(luma if self.step == 1 else luma / np.float32(self.step), dtype=np.float32)

    @cached_property
    def small(self) -> npt.NDArray[np.uint8]:
        """Smoothed luma by which pictures are aligned: of half the height and width, or as it is where that is small."""
        luma = self.luma()
        height, width = luma.shape
        part = 2 if min(height, width) >= LARGE else 1
        size = (max(16, -(-width // part)), max(16, -(-height // part)))
        half = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        return np.asarray(np.rint(cv2.GaussianBlur(half, (0, 0), SMOOTHING)), dtype=np.uint8)

    def equals(self, other: Picture) -> bool:
        """Return whether all code values are the same."""
        return self.shape == other.shape and all(map(np.array_equal, self.planes, other.planes))

    def with_planes(self, planes: list[Plane], colour: Colour, alpha: Plane | None = None) -> VideoFrame:
        """Return a frame like this one with other code values; floats are rounded and clipped. It keeps its alpha unless `alpha` is given."""
        import av

        top = (1 << self.form.bits) - 1
        frame = av.VideoFrame(self.frame.width, self.frame.height, self.form.plain)
        for target, plane in zip(arrays(frame, self.form), planes, strict=True):
            codes = plane if plane.dtype.kind == "u" else np.clip(np.rint(plane), 0, top).astype(target.dtype)
            np.copyto(target, np.left_shift(codes, self.form.shift) if self.form.shift else codes)
        name = self.frame.format.name
        if carries_alpha(name):
            frame = frame.reformat(format=opaque_name(name))
            depth = pixel_class(name).depth
            kept = alpha_of(self.frame)
            new = kept if alpha is None else np.clip(np.rint(alpha), 0, (1 << depth) - 1).astype(kept.dtype)
            frame = with_alpha(frame, new, name, depth)
        elif name != self.form.plain:
            frame = frame.reformat(format=name)
        frame = _poured(frame, copied(self.frame))
        tag(frame, colour)
        return frame


def evenly(frames: Iterable[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield frames of palettes and of few bits as what they show, 8 bits a channel: FFmpeg would dither filtered ones back to them."""
    for position, frame in frames:
        name = frame.format.name
        yield position, frame.reformat(format=layout(name).plain) if COARSE.fullmatch(name) else frame


def copied(frame: VideoFrame) -> VideoFrame:
    """Return a copy of a frame with memory of its own and all properties: PyAV sets no field order on a new frame."""
    from av.filter import Graph

    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1))
    copy, sink = graph.add("copy"), graph.add("buffersink")
    source.link_to(copy)
    copy.link_to(sink)
    graph.configure()
    graph.vpush(frame)
    made = graph.vpull()
    made.pts = frame.pts
    if frame.time_base is not None:
        made.time_base = frame.time_base
    return made


def _poured(frame: VideoFrame, target: VideoFrame) -> VideoFrame:
    """Return `target` with the samples of `frame`, which has its size and format."""
    for source, plane in zip(frame.planes, target.planes, strict=True):
        lines, into = (np.frombuffer(memoryview(p), np.uint8).reshape(p.height, p.line_size) for p in (source, plane))
        used = min(source.line_size, plane.line_size)
        into[:, :used] = lines[:, :used]
    return target
