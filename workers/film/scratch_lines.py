"""Lines of scratches: narrow and vertical, found in the profiles of a shot's frames.

Rows are averaged in bands, so that grain and detail vanish and a scratch stays (profiles as in Kokaram, 1996, "Detection and removal of line
scratches in degraded motion picture sequences"). While the camera stands, lines of the scene stay at their columns as scratches do. A
scratch lets the picture through; a line of the scene has its own brightness. What cannot be decided is left. Where the picture travels far,
only scratches stay at their columns, and the median over the frames of a shot shows them alone.
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
    columns = np.flatnonzero(likely[1:-1]) + 1
    if not len(columns):
        return []
    over, room = _over(sign, profiles, columns)
    thirds = np.array_split(np.arange(room.shape[1]), min(3, room.shape[1]))
    contrast = np.min([_medians(over[:, :, part], room[:, part]) for part in thirds], axis=0)
    enough = (room.mean(axis=(0, 1)) >= ROOMY) & (contrast >= SURE)
    mine, own_room = _over(sign, [own], np.concatenate([columns - 1, columns, columns + 1]))
    here = _medians(mine.mean(axis=0, keepdims=True), own_room, least=0.0).reshape(3, -1)
    here = np.where(np.isfinite(here), here, 0).max(axis=0)
    return [int(column) for column in columns[enough & (here >= HERE * contrast)]]


def _medians(over: Field, room: Mask, least: float = ROOMY) -> Field:
    """Return the lesser of the sides' medians of each column, where there is room; infinite where less than the part `least` of it has room.

    `over` is sides x frames x bands x columns.
    """
    values = np.where(room, over, np.float32(np.inf)).reshape(len(over), -1, over.shape[-1])
    values.sort(axis=1)
    counts = room.sum(axis=(0, 1))
    middle = np.minimum(counts // 2, values.shape[1] - 1)
    medians = np.take_along_axis(values, middle[None, None], axis=1)[:, 0].min(axis=0)
    return np.where(counts >= least * values.shape[1], medians, np.float32(np.inf))


def _over(sign: int, profiles: list[Profile], columns: npt.NDArray[np.intp]) -> tuple[Field, Mask]:
    """Return how far columns are from their left and their right, times the sign, and where a line of that sign can be seen.

    The first is sides x frames x bands x columns, the second has no sides.
    """
    luma, left, right = (np.stack([values[:, columns] for values in part]) for part in _parts(profiles))
    beside = (left + right) / np.float32(2)
    room = profiles[0].white - beside if sign > 0 else beside - profiles[0].black
    return np.stack([luma - left, luma - right]) * np.float32(sign), np.asarray(room > ROOM)


def _parts(profiles: list[Profile]) -> tuple[list[Field], list[Field], list[Field]]:
    """Return the lumas of profiles, and what they are to the left and right."""
    return [one.luma for one in profiles], [one.left for one in profiles], [one.right for one in profiles]


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
    width = profiles[0].luma.shape[1]
    far = reach(width)
    near = [at for step in range(2 * far + 1, 5 * far + 1) for at in (column - step, column + step) if 0 <= at < width]
    columns = np.array([column, *near])
    luma, left, right = (np.stack([values[:, columns] for values in part]) for part in _parts(profiles))
    beside = (left + right) / np.float32(2)
    line, sides = luma[..., 0].astype(np.float64), beside[..., 0].astype(np.float64)
    steps, there = np.diff(line).ravel(), np.diff(sides).ravel()
    if not near or not steps.size or there.std() < VARIED or not steps.std():
        return False
    together = float(((steps - steps.mean()) * (there - there.mean())).mean())
    if not CLEAR <= together / float(there.var()) <= STEEP:
        return False
    off = luma - beside
    spread, *others = (off - off.mean(axis=1, keepdims=True)).std(axis=(0, 1))
    alike = together / float(there.std() * steps.std()) >= ALIKE or abs(float(off[..., 0].mean())) >= PLAIN * spread
    return bool(alike and spread <= UNEVEN * np.median(others) + 1)


def _present(sign: int, first: int, stop: int, own: Profile) -> Mask:
    """Return the bands in which a line is seen, with those between and beside them."""
    best = (own.contrast[:, first:stop] * np.float32(sign)).max(axis=1)
    seen = (best > FAINT / 2).astype(np.uint8)
    return np.asarray(cv2.dilate(seen[:, None], np.ones((3, 1), np.uint8))[:, 0] > 0)
