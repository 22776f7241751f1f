"""Brightness that flickers, levelled: gain and offset between neighbouring frames, and the trend of a shot that they are moved to.

Levels of a frame are followed through its shot by a robust line from each frame's luma to the next one's. What deviates from their trend
at random is flicker; fades and other slow changes, single flashes and changes of light are meant, and kept. What the line leaves in parts of
the picture is followed in the same way (`workers.film.local_flicker`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from contract.time_filters import DEFLICKER
from workers.film.local_flicker import Grid, aligned, corrections, relit, steps
from workers.film.picture import Picture, Plane
from workers.film.repair import Measure, Repairer, counted
from workers.film.trend import deviation, unbroken

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


WIDTH = 80
"""Pixels of the small luma's width: enough to compare levels, few enough that grain and small motion vanish."""
ANCHORS = 10, 90
"""Percentiles of a frame's luma at which its levels are followed."""
CLIPPED = 4.0, 251.0
"""Small luma outside of these is not compared: black and white are cut off, and do not follow a gain."""
ROUNDS = 4
"""Rounds in which the line is fitted and places that do not follow it, as they move, are left out."""
OUTLYING = 2.5
"""Multiples of the median error from which on a place does not follow, but not below one code value."""
ALIKE = 0.6
"""Least correlation of the levelled pictures of one shot."""
FLAT = 4.0
"""Variance of the small luma below which a gain cannot be told from an offset."""
STEEPEST = 1.5
"""Largest gain, and the inverse of the smallest, from one frame to the next."""
LEAST_JUMP = 4.0
"""Code values of a change of level that is never taken for a jump."""
SMALLEST = 0.3
"""Code values of deviation, root mean square, that are no flicker."""
MOST = 40.0
"""Code values of the largest correction."""
BLACK = 16.0
"""Code value of black in limited range (ITU-R BT.601-7)."""


@dataclass(frozen=True)
class Levels:
    """The small luma of a frame in code values of 8 bits, two of its levels, and black."""

    small: npt.NDArray[np.float32]
    low: float
    high: float
    black: float

    @property
    def light(self) -> npt.NDArray[np.float32]:
        """The small luma above black."""
        return self.small - np.float32(self.black)


Line = tuple[float, float]
"""Gain and offset in code values of 8 bits."""


class Step(NamedTuple):
    """The way from a frame's brightness to the next one's: of all of the picture, and of the cells of a grid beside it."""

    gain: float
    offset: float
    cells: Grid


class Deflicker(Repairer[Levels, Step]):
    """Filter that moves each frame's levels to the trend of its shot.

    The record of a frame is the gain and offset that it got, and the largest change of brightness of a part of it beside them, a share of it.
    """

    filter = DEFLICKER
    sentence = "levelled: their brightness flickered (--deflicker)"
    unchanged = (1.0, 0.0, 0.0)

    def look(self, picture: Picture) -> Levels:
        """Return the small luma and its levels."""
        luma = picture.luma()
        height, width = luma.shape
        part = max(1, round(width / WIDTH))
        size = (max(1, width // part), max(1, height // part))
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        low, high = np.percentile(small, ANCHORS)
        black = 0.0 if self.colour.full or picture.form.model == "rgb" else BLACK
        return Levels(np.asarray(small, dtype=np.float32), float(low), float(high), black)

    def link(self, before: Levels, after: Levels) -> Step | None:
        """Return the step from `before`'s levels to `after`'s, None at a cut."""
        line = fitted(before.small, after.small)
        if line is None:
            return None
        gain, offset = line
        dark, bright = CLIPPED
        valid = (np.minimum(before.small, after.small) > dark) & (np.maximum(before.small, after.small) < bright)
        expected = np.float32(gain) * aligned(before.small, after.small) + np.float32(offset - after.black)
        return Step(gain, offset, steps(expected, after.light, valid))

    def repaired(
        self, picture: Picture, at: int, around: dict[int, Measure[Levels, Step]]
    ) -> tuple[VideoFrame, object] | None:
        """Return the frame on the trend of its shot, with the gain and offset that lead there, and what parts of it got."""
        gain, offset = _line_to_trend(at, around)
        positions = counted(at, around)
        links = [around[position].link for position in positions]
        blank = next((link.cells for link in links if link), None)
        related = None
        if blank is not None:
            path = [link.cells if link else blank for link in links]
            related = corrections(path, positions.index(at), around[at].look.light)
        if (gain, offset) == (1.0, 0.0) and related is None:
            return None
        local = 0.0 if related is None else round(float(related.flat[np.abs(related).argmax()]), 4)
        return self._levelled(picture, (gain, offset), related, around[at].look.black), (gain, offset, local)

    def _levelled(self, picture: Picture, line: Line, related: Grid | None, black: float) -> VideoFrame:
        """Return the frame whose luma, or R, G and B, have that gain and offset, and whose chroma has that gain.

        Then parts of it get brighter or darker by the field through `related`, if there is one. All is rounded once.
        """
        gain, offset = line
        top = (1 << picture.form.bits) - 1
        codes = np.arange(top + 1, dtype=np.float64)
        middle = float(1 << (picture.form.bits - 1))
        luma, chroma = codes * gain + offset * picture.step, (codes - middle) * gain + middle
        kind = picture.form.word if related is None else np.float32
        tables = [
            (np.clip(np.rint(table), 0, top) if related is None else table).astype(kind) for table in (luma, chroma)
        ]
        planes: list[Plane] = []
        for plane, members in zip(picture.planes, picture.form.order, strict=True):
            planes.append(tables[picture.form.model == "yuv" and 0 not in members][plane])
        if related is not None:
            planes = relit(picture, planes, related, black)
        return picture.with_planes(planes, self.colour)


def _line_to_trend(at: int, around: dict[int, Measure[Levels, Step]]) -> Line:
    """Return the gain and offset that move the levels of a frame to the trend of its shot; 1 and 0 where they are not to move."""
    own = around[at].look
    lows, highs = _followed(own.low, at, around), _followed(own.high, at, around)
    middles = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    index = counted(at, around).index(at)
    part = unbroken(middles, index, LEAST_JUMP)
    middle, low, high = (deviation(values[part], index - part.start) for values in (middles, lows, highs))
    if middle.usual < SMALLEST or not middle.share or abs(middle.size) > MOST:
        return 1.0, 0.0
    gain = 1 - middle.share * (high.size - low.size) / (own.high - own.low) if own.high - own.low > 1 else 1.0
    gain = round(float(np.clip(gain, 1 / STEEPEST, STEEPEST)), 5)
    return gain, round((own.low + own.high) / 2 * (1 - gain) - middle.share * middle.size, 3)


def fitted(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> Line | None:
    """Return the line that leads from one small luma to the next one, None where they are not alike.

    Its gain is the ratio of standard deviations (the reduced major axis), which has no bias when both are noisy.
    """
    x, y = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    dark, bright = CLIPPED
    valid = (x > dark) & (x < bright) & (y > dark) & (y < bright)
    if valid.sum() < x.size / 8:
        return (1.0, 0.0) if np.abs(y - x).mean() < LEAST_JUMP else None
    x, y = x[valid], y[valid]
    used = np.ones(x.size, dtype=bool)
    gain, offset = 1.0, 0.0
    for _ in range(ROUNDS):
        gain, offset = _line(x[used], y[used])
        error = np.abs(gain * x + offset - y)
        used = error <= max(1.0, OUTLYING * float(np.median(error)))
    if min(x.var(), y.var()) < FLAT:
        return gain, offset
    alike = _correlation(x, y) >= ALIKE and 1 / STEEPEST <= gain <= STEEPEST
    return (gain, offset) if alike else None


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Line:
    gain = 1.0
    if x.var() >= FLAT and y.var() >= FLAT:
        gain = float(np.sqrt(y.var() / x.var()))
    return gain, float(y.mean() - gain * x.mean())


def _correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    return float(((x - x.mean()) * (y - y.mean())).mean() / np.sqrt(x.var() * y.var()))


def _followed(level: float, at: int, around: dict[int, Measure[Levels, Step]]) -> list[float]:
    """Return what a level of the frame `at` is in the frames around it that count."""
    positions = counted(at, around)
    levels = {at: level}
    for position in range(at, positions[0], -1):
        gain, offset = _of(around[position].link)
        levels[position - 1] = (levels[position] - offset) / gain
    for position in range(at + 1, positions[-1] + 1):
        gain, offset = _of(around[position].link)
        levels[position] = gain * levels[position - 1] + offset
    return [levels[position] for position in positions]


def _of(link: Step | None) -> Line:
    return (link.gain, link.offset) if link else (1.0, 0.0)
