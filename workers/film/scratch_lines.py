"""Lines of scratches: narrow and vertical, found in the profiles of a shot's frames.

Rows are averaged in bands, so that grain and detail vanish and a scratch stays (profiles as in Kokaram, 1996, "Detection and removal of line
scratches in degraded motion picture sequences"). A line of the scene stays at its column too while the camera stands: it is told from
a scratch, which lets the picture through, by its own brightness, and otherwise left. Where the picture travels far, nothing of the scene
stays at its column: the median over the frames of a shot has the scratch alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

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
TRAVELLED = 10.0
"""Pixels that the picture must move sideways for a line that stays to be a scratch: one of the scene is up to five wide, and may be one beside."""
SURE = 4.0
"""Code values of that median's contrast from which on there is a line."""
HERE = 0.3
"""Least part of the median contrast that a frame must have itself."""
ROOM = 12.0
"""Code values that a band must be away from black for a dark line to be seen in it, and from white for a bright one."""
ROOMY = 1 / 3
"""Least part of the bands that must have this room."""
CLEAR, STEEP = 0.6, 1.6
"""Least and largest slope of a line's brightness over that of the picture beside it for the picture to be seen through it."""
ALIKE = 0.6
"""Least correlation of both, unless the line is plain."""
PLAIN = 0.74
"""Least contrast of a plain line, in standard deviations of it over the height."""
UNEVEN = 2.0
"""Multiples of how columns beside it vary, plus a code value, by which a scratch's contrast may."""
VARIED = 2.0
"""Code values of standard deviation of the picture's steps beside a line from which on that slope is judged."""
EDGE = 0.2
"""Part of a line's contrast down to which its columns belong to it."""


@dataclass(frozen=True)
class Profile:
    """Of a frame, bands x columns in code values of 8 bits: luma, what it is to the left and right of each column, and the contrast of lines.

    Of each column, `strength` is how far it is from both sides on average, and `seen` the part of the bands with a dark (0) and a bright (1) line.
    `black` and `white` are its levels.
    """

    luma: Field
    left: Field
    right: Field
    contrast: Field
    strength: Field
    seen: tuple[Field, Field]
    black: float
    white: float

    def beside(self, column: int) -> Field:
        """Return what luma is beside a column, in each band."""
        return np.asarray((self.left[:, column] + self.right[:, column]) / np.float32(2))

    def roomy(self, sign: int, column: int) -> Mask:
        """Return the bands in which a bright (1) or dark (-1) line can be seen at a column."""
        beside = self.beside(column)
        return np.asarray((self.white - beside if sign > 0 else beside - self.black) > ROOM)


@dataclass(frozen=True)
class Line:
    """A scratch in a frame: its first column, the column behind its last one, and its contrast in code values.

    `bands` tells of each band whether it lies there, and `through` whether the picture is seen through it.
    """

    first: int
    stop: int
    contrast: float
    bands: Mask
    through: bool


def profile(luma: Field, black: float, white: float) -> Profile:
    """Return the bands of a luma with these levels, and in them what differs from both sides in the same direction."""
    height, width = luma.shape
    bands = max(1, min(BANDS, height // 8))
    rows = np.asarray(cv2.resize(luma, (width, bands), interpolation=cv2.INTER_AREA), dtype=np.float32)
    far = reach(width)
    wide = np.pad(rows, ((0, 0), (far + 2, far + 2)), mode="edge")
    left = np.asarray((wide[:, 0:width] + wide[:, 1 : width + 1]) / 2, np.float32)
    right = np.asarray(
        (wide[:, 2 * far + 3 : 2 * far + 3 + width] + wide[:, 2 * far + 4 : 2 * far + 4 + width]) / 2, np.float32
    )
    over, under = rows - np.maximum(left, right), rows - np.minimum(left, right)
    contrast = np.where(over > 0, over, np.where(under < 0, under, np.float32(0)))
    strength = (rows - (left + right) / np.float32(2)).mean(axis=0)
    seen = [np.asarray((contrast * sign > FAINT).mean(axis=0), np.float32) for sign in (-1, 1)]
    return Profile(rows, left, right, np.asarray(contrast, np.float32), strength, (seen[0], seen[1]), black, white)


def reach(width: int) -> int:
    """Return the pixels from the middle of a scratch to either side that it may have in a picture of this width."""
    return max(2, round(width / NARROW))


def lines(own: Profile, profiles: list[Profile], way: float) -> list[Line]:
    """Return the scratches of a frame, from left to right; `profiles` are those of its shot, in which the picture moved sideways by `way` pixels."""
    if len(profiles) < FEWEST:
        return []
    found = [line for sign in (1, -1) for line in _signed(sign, own, profiles, way)]
    return sorted(_apart(found, reach(own.luma.shape[1]) + 2), key=lambda line: line.first)


def _signed(sign: int, own: Profile, profiles: list[Profile], way: float) -> list[Line]:
    """Return the bright (1) or dark (-1) scratches of a frame."""
    strength = own.strength * sign
    found: list[Line] = []
    if way >= TRAVELLED:
        mean = np.asarray(np.mean([one.strength for one in profiles], axis=0) * sign, np.float32)
        for column in _staying_columns(sign, own, profiles, mean):
            if (extent := _extent(column, mean)) is not None:
                bands = np.ones(len(own.luma), bool)
                found.append(Line(*extent, float(mean[column]) * sign, bands, _seen_through(column, profiles)))
    for column in _seen_columns(sign, own, profiles, strength):
        through = _seen_through(column, profiles)
        if (way >= TRAVELLED or through) and (extent := _extent(column, strength)) is not None:
            found.append(Line(*extent, float(strength[column]) * sign, _present(sign, *extent, own), through))
    return found


def _seen_columns(sign: int, own: Profile, profiles: list[Profile], strength: Field) -> list[int]:
    """Return the columns of lines that are seen in most bands of most frames."""
    bright = sign > 0
    here = (own.seen[bright] >= SEEN) & _throughout(sign, own)
    if not here.any():
        return []
    lasting = np.mean([_widened(one.seen[bright]) >= SEEN for one in profiles], axis=0) >= LASTING
    columns = here & lasting & (strength >= np.roll(strength, 1)) & (strength > np.roll(strength, -1))
    return [int(column) for column in np.flatnonzero(columns)]


def _staying_columns(sign: int, own: Profile, profiles: list[Profile], mean: Field) -> list[int]:
    """Return the columns of lines that the medians over frames show in all thirds of the height where they can be seen.

    `mean` is the mean strength of columns over the frames.
    """
    likely = (mean > SURE / 2) & (mean >= np.roll(mean, 1)) & (mean > np.roll(mean, -1))
    found: list[int] = []
    for column in map(int, np.flatnonzero(likely[1:-1]) + 1):
        roomy = np.stack([one.roomy(sign, column) for one in profiles])
        if roomy.mean() < ROOMY:
            continue
        over = [
            np.stack(
                [(one.luma[:, column] - side[:, column]) * sign for one, side in zip(profiles, sides, strict=True)]
            )
            for sides in ([one.left for one in profiles], [one.right for one in profiles])
        ]
        thirds = [
            min(float(np.median(side[:, part][roomy[:, part]])) for side in over)
            for part in np.array_split(np.arange(roomy.shape[1]), min(3, roomy.shape[1]))
            if roomy[:, part].mean() >= ROOMY
        ]
        contrast = min(thirds)
        room = own.roomy(sign, column)
        if contrast < SURE or not room.any():
            continue
        near = (column - 1, column, column + 1)
        mine = max(float(np.median((own.luma[:, at] - own.beside(at))[room])) * sign for at in near)
        if mine >= HERE * contrast:
            found.append(column)
    return found


def _apart(lines: list[Line], gap: int) -> list[Line]:
    """Return the lines without those that have a stronger one nearer than `gap` columns: beside a bright line it looks dark."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda line: -abs(line.contrast)):
        if all(line.first - other.stop >= gap or other.first - line.stop >= gap for other in kept):
            kept.append(line)
    return kept


def _throughout(sign: int, one: Profile) -> Mask:
    """Return the columns in which a line is seen in all thirds of the height."""
    thirds = np.array_split(one.contrast * sign > FAINT, min(3, len(one.contrast)))
    return np.asarray(np.min([third.mean(axis=0) for third in thirds], axis=0) >= THROUGHOUT)


def _widened(values: Field) -> Field:
    """Return the largest of each value and its neighbours: scratches wander by parts of a pixel."""
    return np.asarray(cv2.dilate(values[None], np.ones((1, 3), np.uint8))[0])


def _extent(column: int, strength: Field) -> tuple[int, int] | None:
    """Return the first column around the strongest one of a line, and the one behind its last; None if it is at the edge."""
    width, far = len(strength), reach(len(strength))
    first = last = column
    while first > 0 and column - first < far and strength[first - 1] > EDGE * strength[column]:
        first -= 1
    while last + 1 < width and last - column < far and strength[last + 1] > EDGE * strength[column]:
        last += 1
    return (first, last + 1) if first >= far + 2 and last < width - far - 2 else None


def _seen_through(column: int, profiles: list[Profile]) -> bool:
    """Return whether the brightness of a line follows that of the picture beside it from band to band, as one of the scene does not.

    Steps between bands are compared: the light falls on a line of the scene and on what is behind it alike. A scratch's contrast varies over
    its height by no more than what columns beside it do, as that of a thing of the scene does.
    """
    line = np.stack([one.luma[:, column] for one in profiles]).astype(np.float64)
    beside = np.stack([one.beside(column) for one in profiles]).astype(np.float64)
    steps, there = np.diff(line).ravel(), np.diff(beside).ravel()
    if not steps.size or there.std() < VARIED or not steps.std():
        return False
    together = float(((steps - steps.mean()) * (there - there.mean())).mean())
    if not CLEAR <= together / float(there.var()) <= STEEP:
        return False
    spread, usual = _spread(column, profiles), _usual_spread(column, profiles)
    alike = together / float(there.std() * steps.std()) >= ALIKE or abs(float((line - beside).mean())) >= PLAIN * spread
    return alike and spread <= UNEVEN * usual + 1


def _spread(column: int, profiles: list[Profile]) -> float:
    """Return the standard deviation over a frame's height of how far a column is from both sides."""
    off = np.stack([one.luma[:, column] - one.beside(column) for one in profiles])
    return float((off - off.mean(axis=1, keepdims=True)).std())


def _usual_spread(column: int, profiles: list[Profile]) -> float:
    """Return the median of that of columns to both sides, beyond the reach of the line."""
    width = profiles[0].luma.shape[1]
    far = reach(width)
    near = [at for step in range(2 * far + 1, 5 * far + 1) for at in (column - step, column + step) if 0 <= at < width]
    return float(np.median([_spread(at, profiles) for at in near])) if near else 0.0


def _present(sign: int, first: int, stop: int, own: Profile) -> Mask:
    """Return the bands in which a line is seen, with those between and beside them."""
    best = (own.contrast[:, first:stop] * np.float32(sign)).max(axis=1)
    seen = (best > FAINT / 2).astype(np.uint8)
    return np.asarray(cv2.dilate(seen[:, None], np.ones((3, 1), np.uint8))[:, 0] > 0)
