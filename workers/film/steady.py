"""Steadiness: grain and noise calmed by the mean of aligned neighbours, so that a network does not invent anew in each frame.

A neighbour counts where, once aligned, its smooth luma differs from the frame's own by no more than noise does. Everywhere else,
and after a cut, the frame stays as it is. Frames that are repeated exactly stay exactly repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from contract.film import HELD, STEADY_REACH
from contract.time_filters import STEADY
from workers.film.motion import Alignment, align
from workers.film.picture import Picture, Plane
from workers.film.repair import Windowed

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour
    from workers.film.frame_marks import Clock
    from workers.film.window import Window

TRUSTED, DOUBTED = 4.0, 8.0
"""Multiples of the usual squared error up to which a place is trusted whole, and from which on not at all."""
USUAL = 40
"""Percentile of the squared errors of a frame's places that is taken for what noise makes."""
LEAST, MOST = 0.25, 6.0
"""Bounds of that squared error, in squared code values of 8 bits after smoothing: below, rounding makes it; above, what differs
is taken for something else than noise. White noise of standard deviation s makes 0.040 s^2 where half the size is compared, and 0.16 s^2
in small films: the difference of two frames has 2 s^2, the mean of four pixels a fourth, the Gaussian blur 1 / (4 pi)."""

Weight = npt.NDArray[np.float32]


class Steadier(Windowed):
    """Filter that replaces frames by the mean of themselves and of what their neighbours agree on; `strength` from 0 to 1 weighs the neighbours.

    The record of a frame is the mean number of neighbours that counted at a place.
    """

    filter = STEADY
    sentence = "steadied: they are means of themselves and their neighbours where those agree (--steady)"
    unchanged = 0.0

    def __init__(self, strength: float, colour: Colour, clock: Clock) -> None:
        super().__init__(colour, clock)
        self._strength = np.float32(strength)
        self._last: tuple[Picture, VideoFrame, float] | None = None

    def made(self, window: Window) -> VideoFrame:
        """Return the steadied frame of a window."""
        run = held(window)
        if run is None:
            return window.picture.frame
        first, last = run
        if self._last is not None and first < window.position and self._last[0].equals(window.picture):
            _, made, gain = self._last
            frame = window.picture.with_planes(Picture(made).planes, self.colour)
        else:
            others = [p for at, p in window.neighbours(STEADY_REACH, first, last) if not first <= at <= last]
            frame, gain = self._mean(window.picture, others)
        self._last = window.picture, frame, gain
        if gain:
            self.found[window.position] = gain
        return frame

    def _mean(self, picture: Picture, others: list[Picture]) -> tuple[VideoFrame, float]:
        alignments = [align(picture, other) for other in others]
        weights = [trust * self._strength for trust in trusts(alignments)]
        gain = round(float(sum(weight.mean() for weight in weights)), 3)
        if not gain:  # so few places that the record would not show them
            return picture.frame, 0.0
        pairs = list(zip(others, alignments, weights, strict=True))
        planes = [mean(plane, n, pairs)[0] for n, plane in enumerate(picture.planes)]
        return picture.with_planes(planes, self.colour), gain


def mean(plane: Plane, n: int, pairs: list[tuple[Picture, Alignment, Weight]]) -> tuple[Weight, Weight]:
    """Return the mean of plane number `n` and of what its aligned neighbours have there, and the sum of weights, height x width, at each place."""
    total = plane.astype(np.float32)
    weights = np.ones(plane.shape[:2], np.float32)
    for other, alignment, trust in pairs:
        if not trust.any():
            continue
        weight = np.asarray(cv2.resize(trust, plane.shape[1::-1], interpolation=cv2.INTER_LINEAR))
        aligned = alignment.aligned(other.planes[n])
        aligned *= weight[..., None]
        total += aligned
        weights += weight
    total /= weights[..., None]
    return total, weights


def trusts(alignments: list[Alignment]) -> Iterator[Weight]:
    """Yield the weight of each place of each neighbour, 0 to 1, at the small pictures' size."""
    if not alignments:
        return
    errors = [alignment.error[4::8, 4::8] for alignment in alignments]
    usual = float(np.clip(np.percentile(np.concatenate(errors, axis=None), USUAL), LEAST, MOST))
    for alignment in alignments:
        yield np.clip((DOUBTED - alignment.error / usual) / (DOUBTED - TRUSTED), 0, 1).astype(np.float32)


def held(window: Window) -> tuple[int, int] | None:
    """Return the first and last position of the run of equal frames around a window's middle, None if it is longer than HELD.

    No frame of a longer run is changed: not all of them have the whole run, and its neighbours, in their windows.
    """
    first = last = window.position
    while (before := window.pictures.get(first - 1)) is not None and before.equals(window.picture):
        first -= 1
    while (after := window.pictures.get(last + 1)) is not None and after.equals(window.picture):
        last += 1
    return (first, last) if last - first < HELD else None
