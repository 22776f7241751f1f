"""Scratches: narrow vertical lines that stay at their column for many frames, found in the profile of rows and filled across.

Rows are averaged in bands, so that grain and detail vanish and a scratch stays (profiles as in Kokaram, 1996, "Detection and removal of line
scratches in degraded motion picture sequences"). A line of the scene stays at its column too while the camera stands: it is told from
a scratch, which lets the picture through, by its own brightness, and otherwise left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from contract.time_filters import SCRATCHES
from workers.film.picture import Picture, Plane
from workers.film.repair import Measure, Repairer, counted

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

BANDS = 24
"""Bands of rows of a frame; small pictures have fewer, of eight rows."""
NARROW = 400
"""Columns of a picture for one pixel of a scratch's reach to either side of its middle, which is two at least."""
FAINT = 3.0
"""Code values of contrast in a band below which there is no line."""
SEEN = 0.5
"""Least part of the bands in which a line must be seen."""
THROUGHOUT = 0.25
"""Least part of the bands of the upper, the middle and the lower third of a frame in which a line must be seen."""
LASTING = 0.8
"""Least part of the frames of a shot in reach that must have the line."""
FEWEST = 5
"""Frames of a shot in reach below which a scratch is not told from the scene."""
TRAVELLED = 3.0
"""Pixels that the picture must move sideways for a line that stays to be a scratch."""
CLEAR = 0.5
"""Least slope of a line's brightness over that of the picture beside it for the picture to be seen through it."""
VARIED = 2.0
"""Code values of standard deviation of the picture's steps beside a line from which on that slope is judged."""
LIKELY = 0.05
"""Least response of the phase correlation that tells the picture's motion."""
SPARED = 12.0
"""Code values by which a filled pixel may go beyond the brighter or darker side."""
EDGE = 0.2
"""Part of a line's contrast down to which its columns belong to it."""


@dataclass(frozen=True)
class Profile:
    """Of a frame, bands x columns in code values of 8 bits: luma, what it is beside each column, and the contrast of lines."""

    luma: Field
    beside: Field
    contrast: Field


class Line(NamedTuple):
    """A scratch in a frame: its first column, the column behind its last one, and its contrast in code values."""

    first: int
    stop: int
    contrast: float


class ScratchFiller(Repairer[Profile, float]):
    """Filter that fills scratches from either side. The record of a frame lists first column, number of columns and contrast of each."""

    filter = SCRATCHES
    sentence = "filled at the columns of scratches (--scratches)"
    unchanged = ()

    def look(self, picture: Picture) -> Profile:
        """Return the profile of a frame."""
        return profile(picture.luma())

    def link(self, before: Profile, after: Profile) -> float | None:
        """Return the pixels by which the picture moved sideways, 0 where that is not certain, None at a cut."""
        one, other = before.luma - before.contrast, after.luma - after.contrast
        if _alike(one, other) is False:
            return None
        if min(one.shape) < 3:
            return 0.0
        (right, _), response = cv2.phaseCorrelate(one, other)  # both are new: OpenCV may change them where they lie
        return round(float(right), 2) if response >= LIKELY else 0.0

    def repaired(
        self, picture: Picture, at: int, around: dict[int, Measure[Profile, float]]
    ) -> tuple[VideoFrame, object] | None:
        """Return the frame with its scratches filled, and the list of them."""
        positions = counted(at, around)
        profiles = [around[position].look for position in positions]
        if len(profiles) < FEWEST:
            return None
        moves = np.cumsum([around[position].link or 0.0 for position in positions[1:]])
        travelled = float(np.ptp(np.append(moves, 0.0))) >= TRAVELLED
        own = around[at].look
        lines = [line for sign in (1, -1) for line in _lines(sign, own, profiles, travelled)]
        if not lines:
            return None
        found = sorted(_apart(lines, _reach(own.luma.shape[1]) + 2))
        return picture.with_planes(_filled(picture, found, own), self.colour), [
            [line.first, line.stop - line.first, round(line.contrast, 1)] for line in found
        ]


def profile(luma: Field) -> Profile:
    """Return the bands of a luma, and in them what differs from both sides in the same direction."""
    height, width = luma.shape
    bands = max(1, min(BANDS, height // 8))
    rows = np.asarray(cv2.resize(luma, (width, bands), interpolation=cv2.INTER_AREA), dtype=np.float32)
    reach = _reach(width)
    wide = np.pad(rows, ((0, 0), (reach + 2, reach + 2)), mode="edge")
    left = (wide[:, 0:width] + wide[:, 1 : width + 1]) / 2
    right = (wide[:, 2 * reach + 3 : 2 * reach + 3 + width] + wide[:, 2 * reach + 4 : 2 * reach + 4 + width]) / 2
    over, under = rows - np.maximum(left, right), rows - np.minimum(left, right)
    contrast = np.where(over > 0, over, np.where(under < 0, under, np.float32(0)))
    return Profile(rows, np.asarray((left + right) / 2, np.float32), np.asarray(contrast, np.float32))


def _reach(width: int) -> int:
    return max(2, round(width / NARROW))


def _alike(one: Field, other: Field) -> bool:
    """Return whether two profiles can be of one shot: one explains at least half of the other, or both are flat."""
    x, y = one - one.mean(), other - other.mean()
    spread = float(np.sqrt(np.square(x).mean() * np.square(y).mean()))
    return spread < 4 or float((x * y).mean()) / spread > 0.5


def _lines(sign: int, own: Profile, profiles: list[Profile], travelled: bool) -> list[Line]:
    """Return the bright (1) or dark (-1) scratches of a frame; `profiles` are those of its shot."""
    here = (_seen(sign, own) >= SEEN) & _throughout(sign, own)
    if not here.any():
        return []
    lasting = np.mean([_widened(_seen(sign, one)) >= SEEN for one in profiles], axis=0) >= LASTING
    strength = _strength(sign, own)
    columns = here & lasting & (strength >= np.roll(strength, 1)) & (strength > np.roll(strength, -1))
    lines: list[Line] = []
    for column in np.flatnonzero(columns):
        if not travelled and not _seen_through(int(column), profiles):
            continue
        line = _extent(int(column), strength, sign)
        if line is not None and (not lines or line.first >= lines[-1].stop):
            lines.append(line)
    return lines


def _apart(lines: list[Line], gap: int) -> list[Line]:
    """Return the lines without those that have a stronger one nearer than `gap` columns: beside a bright line it looks dark."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda line: -abs(line.contrast)):
        if all(line.first - other.stop >= gap or other.first - line.stop >= gap for other in kept):
            kept.append(line)
    return kept


def _seen(sign: int, one: Profile) -> Field:
    return np.asarray((one.contrast * sign > FAINT).mean(axis=0), dtype=np.float32)


def _throughout(sign: int, one: Profile) -> Mask:
    """Return the columns in which a line is seen in all thirds of the height."""
    thirds = np.array_split(one.contrast * sign > FAINT, min(3, len(one.contrast)))
    return np.asarray(np.min([third.mean(axis=0) for third in thirds], axis=0) >= THROUGHOUT)


def _widened(values: Field) -> Field:
    """Return the largest of each value and its neighbours: scratches wander by parts of a pixel."""
    return np.asarray(cv2.dilate(values[None], np.ones((1, 3), np.uint8))[0])


def _strength(sign: int, one: Profile) -> Field:
    return np.asarray((one.luma - one.beside).mean(axis=0) * sign, dtype=np.float32)


def _extent(column: int, strength: Field, sign: int) -> Line | None:
    """Return the columns around the strongest one that belong to its line; None if it is too wide, or at the edge."""
    width, reach = len(strength), _reach(len(strength))
    first = last = column
    while first > 0 and column - first < reach and strength[first - 1] > EDGE * strength[column]:
        first -= 1
    while last + 1 < width and last - column < reach and strength[last + 1] > EDGE * strength[column]:
        last += 1
    if first < reach + 2 or last >= width - reach - 2:
        return None
    return Line(first, last + 1, float(strength[column]) * sign)


def _seen_through(column: int, profiles: list[Profile]) -> bool:
    """Return whether the brightness of a line follows that of the picture beside it from band to band, as one of the scene does not.

    Steps between bands are compared: the light falls on a line of the scene and on what is behind it alike.
    """
    line = np.concatenate([np.diff(one.luma[:, column]) for one in profiles]).astype(np.float64)
    beside = np.concatenate([np.diff(one.beside[:, column]) for one in profiles]).astype(np.float64)
    if not beside.size:
        return False
    spread = float(beside.var())
    if spread < VARIED**2:
        return False
    return float(((line - line.mean()) * (beside - beside.mean())).mean()) / spread >= CLEAR


def _filled(picture: Picture, lines: list[Line], own: Profile) -> list[Plane]:
    """Return the planes without the contrast of lines in their columns, kept between both sides, in the bands where they are seen."""
    planes: list[Plane] = []
    bands = len(own.contrast)
    for plane, members in zip(picture.planes, picture.form.order, strict=True):
        across = picture.form.down[1] if picture.form.model == "yuv" and 0 not in members else 1
        new = plane.astype(np.float32)
        height, width = plane.shape[:2]
        for line in lines:
            first, stop = line.first // across, -(-line.stop // across)
            left, right = max(0, first - 2), min(width, stop + 2)
            if left == first or right == stop:
                continue
            seen = _present(line, own)[np.arange(height) * bands // height]
            before = new[:, left:first].mean(axis=1, keepdims=True)
            after = new[:, stop:right].mean(axis=1, keepdims=True)
            part = ((np.arange(stop - first, dtype=np.float32) + 1) / np.float32(stop - first + 1))[None, :, None]
            across_line = before * (1 - part) + after * part
            spared = np.float32(SPARED * picture.step)
            low, high = np.minimum(before, after) - spared, np.maximum(before, after) + spared
            # The scratch's own contrast in each column; what shines through it is kept where it is like both sides.
            own_part = np.median((new[:, first:stop] - across_line)[seen], axis=0) if seen.any() else np.float32(0)
            new[seen, first:stop] = np.clip(new[:, first:stop] - own_part, low, high)[seen]
        planes.append(new)
    return planes


def _present(line: Line, own: Profile) -> Mask:
    """Return the bands in which a line is seen, with those between and beside them."""
    sign = np.float32(np.sign(line.contrast))
    best = (own.contrast[:, line.first : line.stop] * sign).max(axis=1)
    seen = (best > FAINT / 2).astype(np.uint8)
    return np.asarray(cv2.dilate(seen[:, None], np.ones((3, 1), np.uint8))[:, 0] > 0)
