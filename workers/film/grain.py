"""Grain, kept: the source's own grain is taken off before enhancement, and put back at the new size.

A frame's grain is what differs from the mean of its aligned neighbours, and what their mean still has of it: bands of a wavelet in which it has
no more energy than grain does are left out. What was taken off is enlarged as the picture is, and nothing is drawn: its level and its
spectrum, in cycles per picture height, stay those of the source, and detail that was taken for grain comes back with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from contract.time_filters import GRAIN
from workers.film.code_values import chroma_levels, kr_kb, luma_levels
from workers.film.motion import align
from workers.film.picture import Picture, Plane, copied
from workers.film.pixel_layout import arrays, layout
from workers.film.repair import Windowed
from workers.film.steady import held, mean, trusts

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour
    from workers.film.frame_marks import Clock
    from workers.film.pixel_layout import Layout
    from workers.film.window import Window

Field = npt.NDArray[np.float32]

BANDS = 3
"""Bands of the wavelet, from one to eight pixels: coarser grain is taken for the picture."""
SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The B3 spline, whose differences are the bands (Starck and Murtagh, 1994, "Image restoration with noise suppression using the wavelet transform")."""
AROUND = 5
"""Side in pixels of the square over which the energy of the first band is averaged; twice and four times of it for coarser ones."""
STRICT = 2.0
"""Multiples of the grain's energy that a place must have, once for nothing of it to be kept: the mean of few pixels varies."""
SUPPORTED = 1.5
"""Sum of weights from which on a place tells the grain by the difference from its neighbours."""
LEAST_SUPPORT = 0.1
"""Least part of a picture that must be supported; else the grain is measured in the smoothest places."""
SMOOTHEST = 25
"""Percentile of a band's energy that is taken for grain then."""
MAD = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""
LIMIT = 127
"""Code values of 8 bits of the most that is taken off."""
SPARSE = 64
"""Pixels of a picture's shorter side from which on the power of coarser bands is measured in fewer pixels."""
CRISP = (0.05, -0.11, 1.12, -0.11, 0.05)
"""Makes up, before it is enlarged, for what the kernel that enlarges takes from the finest grain: white grain keeps its level to 3 %, and its
amplitude to 8 % in each fifth of its frequencies, at 1.5 to 4 times (0.86 and 35 % without it)."""


@dataclass(frozen=True)
class Grain:
    """Grain that was taken off a frame: code values of each channel of the model of `form`, height x width."""

    form: Layout
    channels: dict[int, npt.NDArray[np.signedinteger[Any]]]

    def level(self) -> float:
        """Return the standard deviation in luma, or in R, G and B together, in code values of 8 bits."""
        parts = self.channels.values() if self.form.model == "rgb" else [self.channels[0]]
        power = float(np.mean([np.square(part, dtype=np.float32).mean(dtype=np.float64) for part in parts]))
        return round(float(np.sqrt(power)) / (1 << (self.form.bits - 8)), 3)


class GrainKeeper(Windowed):
    """Filter that takes the grain off frames, and puts a `share` of it, 0 to 1, back on the enhanced ones.

    `encoded` are the colours of the result, and `owned` the positions that are enhanced. The record of a frame is its grain's standard deviation.
    """

    filter = GRAIN
    sentence = "without their grain while they are enhanced: it is put back at the new size (--grain)"
    unchanged = 0.0

    def __init__(
        self, share: float, colour: Colour, clock: Clock, encoded: Colour | None = None, owned: range | None = None
    ) -> None:
        super().__init__(colour, clock)
        self._share, self._encoded, self._wanted = share, encoded or colour, owned
        self._taken: dict[int, Grain] = {}
        self._last: tuple[int, Picture, VideoFrame, Grain] | None = None

    def put_back(self, position: int, frame: VideoFrame) -> VideoFrame:
        """Return an enhanced frame with the grain of its source."""
        now = time.perf_counter()
        grain = self._taken.pop(position, None)
        if grain is not None:
            frame = self._grained(frame, grain)
        self._clock.spend("regrain", now)
        return frame

    def made(self, window: Window) -> VideoFrame:
        """Return the frame of a window without its grain, which is kept to be put back."""
        at, picture = window.position, window.picture
        if self._last is not None and self._last[0] == at - 1 and self._last[1].equals(picture):
            _, _, made, grain = self._last
            frame = picture.with_planes(Picture(made).planes, self.colour)
        else:
            run = held(window)
            # Frames of long runs are told from their grain alone: not all of them have the neighbours of the run in their windows.
            others = [window.pictures[n] for n in (run[0] - 1, run[1] + 1) if n in window.pictures] if run else []
            planes, grain = parted(picture, others)
            frame = picture.with_planes(planes, self.colour)
        self._last = at, picture, frame, grain
        level = grain.level()
        if level and (self._wanted is None or at in self._wanted):
            self.found[at], self._taken[at] = level, grain
        return frame if level else picture.frame

    def _grained(self, frame: VideoFrame, grain: Grain) -> VideoFrame:
        form = layout(frame.format.name)
        fields = _fields(grain, form, self.colour, self._encoded, (frame.height, frame.width), self._share)
        if frame.format.name == form.plain and not form.shift and all(len(members) == 1 for members in form.order):
            frame = copied(frame)
            for plane, (c,) in zip(arrays(frame, form), form.order, strict=True):
                if c in fields:
                    _add(plane[..., 0], fields[c], form.bits)
            return frame
        picture = Picture(frame)
        planes: list[Plane] = [plane.copy() for plane in picture.planes]
        for plane, members in zip(planes, form.order, strict=True):
            for k, c in enumerate(members):
                if c in fields:
                    channel = np.ascontiguousarray(plane[..., k])
                    _add(channel, fields[c], form.bits)
                    plane[..., k] = channel
        return picture.with_planes(planes, self._encoded)


def _add(channel: Plane, field: Field, bits: int) -> None:
    """Add a field to a channel in place, rounded and clipped."""
    cv2.add(channel, field, dst=channel, dtype=cv2.CV_8U if channel.dtype == np.uint8 else cv2.CV_16U)
    if bits not in (8, 16):
        np.minimum(channel, (1 << bits) - 1, out=channel)


def parted(picture: Picture, others: list[Picture]) -> tuple[list[Plane], Grain]:
    """Return the planes of a picture without grain, and the grain: their sum is the picture. `others` are its neighbours."""
    alignments = [align(picture, other) for other in others]
    pairs = list(zip(others, alignments, trusts(alignments), strict=True))
    top, limit = (1 << picture.form.bits) - 1, LIMIT * picture.step
    calm: list[Plane] = []
    channels: dict[int, npt.NDArray[np.signedinteger[Any]]] = {}
    for n, (plane, members) in enumerate(zip(picture.planes, picture.form.order, strict=True)):
        own = plane.astype(np.float32)
        average, weights = mean(plane, n, pairs)
        for k, channel in enumerate(members):
            smooth = smoothed(own[..., k], np.ascontiguousarray(average[..., k]), weights)
            off = np.clip(smooth, 0, top, out=smooth)
            np.rint(np.subtract(own[..., k], off, out=off), out=off)
            np.clip(off, -limit, limit, out=off)
            channels[channel] = off.astype(np.int8 if picture.form.bits <= 8 else np.int16)
            own[..., k] -= off
        calm.append(own.astype(plane.dtype))
    return calm, Grain(picture.form, channels)


def smoothed(own: Field, average: Field, weights: Field) -> Field:
    """Return `average`, the mean of a channel and its neighbours by `weights`, without what is left of the grain in it."""
    powers = _powers(own - average, weights)
    result, looked = average.copy(), np.s_[1::3, 1::3] if min(own.shape) > 8 else np.s_[:, :]
    # Arrays that are used again stay in the processor's cache.
    coarse, finer, detail, part = (np.empty_like(average) for _ in range(4))
    for band in range(BANDS):
        _coarser(average, band, coarse)
        cv2.subtract(average, coarse, dst=detail)
        cv2.multiply(detail, detail, dst=part)
        around = AROUND << band
        energy: Field = np.asarray(
            cv2.blur(part, (around, around), dst=finer, borderType=cv2.BORDER_REPLICATE), np.float32
        )
        power = powers[band] if powers else float(np.percentile(energy[looked], SMOOTHEST))
        # Less than a tenth of a code value is no grain, and must not divide.
        np.maximum(energy, np.float32(0.01), out=energy)
        energy *= weights
        cv2.divide(STRICT * power, energy, dst=part)
        np.minimum(part, 1, out=part)
        part *= detail
        result -= part
        average, coarse, finer = coarse, finer, np.empty_like(coarse) if band == 0 else average
    return result


def _powers(apart: Field, weights: Field) -> list[float]:
    """Return the grain's mean square in each band, from what a frame has `apart` from the mean; nothing where too few places are supported.

    Coarser bands are looked at in every second, and every fourth pixel, where the picture is large enough: they have no more detail.
    """
    looked = np.s_[1::3, 1::3] if min(apart.shape) > 8 else np.s_[:, :]
    supported = weights >= SUPPORTED
    seen = supported[looked]
    if seen.mean() < LEAST_SUPPORT:
        return []
    # The mean of frames whose weights sum to w differs from one of them by (1 - 1/w) of the variance.
    part = float(1 - 1 / weights[looked][seen].mean())
    powers, spread = [], 0
    for _ in range(BANDS):
        rest = _coarser(apart, spread)
        detail = np.abs(apart[looked] - rest[looked])[seen]
        powers.append((MAD * float(np.median(detail))) ** 2 / part if detail.size else 0.0)
        if min(apart.shape) < SPARSE:
            apart, spread = rest, spread + 1
        else:
            apart, supported, looked = np.ascontiguousarray(rest[::2, ::2]), supported[::2, ::2], np.s_[:, :]
        seen = supported[looked]
    return powers


def _coarser(values: Field, spread: int, into: Field | None = None) -> Field:
    """Return the values smoothed by the spline, spread by 2 to the power of `spread`; `into` is an array for them."""
    kernel = np.zeros((len(SPLINE) - 1) * (1 << spread) + 1, np.float32)
    kernel[:: 1 << spread] = SPLINE
    smooth = cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel, dst=into, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, dtype=np.float32)


def _fields(
    grain: Grain, form: Layout, colour: Colour, encoded: Colour, size: tuple[int, int], share: float
) -> dict[int, Field]:
    """Return a `share` of the grain for each channel of a frame of `form` and `size`, in its code values and at its sizes."""
    values = {c: part.astype(np.float32) for c, part in grain.channels.items()}
    if grain.form.model != form.model or colour.full != encoded.full:
        values = {c: part / np.float32(_span(grain.form, c, colour.full)) for c, part in values.items()}
        values = _converted(values, grain.form, form, encoded if form.model == "yuv" else colour)
        factors = {c: share * _span(form, c, encoded.full) for c in values}
    else:
        factors = {c: share * _span(form, c, encoded.full) / _span(grain.form, c, colour.full) for c in values}
    fields = {}
    for c, part in values.items():
        down = form.down if form.model == "yuv" and c else (1, 1)
        part *= np.float32(factors[c])
        fields[c] = enlarged(part, (-(-size[0] // down[0]), -(-size[1] // down[1])))
    return fields


def _span(form: Layout, channel: int, full: bool) -> float:
    levels = chroma_levels if form.model == "yuv" and channel else luma_levels
    return levels(form.bits, full)[1]


def _converted(values: dict[int, Field], source: Layout, target: Layout, colour: Colour) -> dict[int, Field]:
    """Return channels of `source`'s model, black 0 and white 1, as channels of `target`'s."""
    if source.model == target.model:
        return values
    kr, kb = kr_kb(colour)
    if source.model == "rgb":
        red, green, blue = values[0], values[1], values[2]
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        if target.model == "grey" or colour.matrix == "grey":
            return {0: luma}
        return {0: luma, 1: (blue - luma) / (2 * (1 - kb)), 2: (red - luma) / (2 * (1 - kr))}
    luma = values[0]
    if target.model != "rgb":
        return {0: luma}
    if source.model == "grey":
        return {0: luma, 1: luma.copy(), 2: luma.copy()}
    cb, cr = (cv2.resize(values[c], luma.shape[::-1], interpolation=cv2.INTER_LINEAR) for c in (1, 2))
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    return {0: red, 1: (luma - kr * red - kb * blue) / (1 - kr - kb), 2: blue}


def enlarged(values: Field, size: tuple[int, int]) -> Field:
    """Return the values in (height, width) `size`: their spectrum in cycles per picture height stays."""
    height, width = size
    if values.shape == size:
        return values
    if height < values.shape[0] or width < values.shape[1]:
        return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)
    kernel = np.asarray(CRISP, np.float32)
    crisp = cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(crisp, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
