"""Spots that stand out from both neighbours of a frame, and the evidence that tells dirt from what moves.

Dirt lies on one frame: its surroundings are in both neighbours, which agree with each other where it lies. What flies through the picture is in a
neighbour too, elsewhere; rain falls in parallel streaks.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from workers.film.motion import Alignment, Field, align
from workers.film.picture import Picture
from workers.film.spot_table import LEAST, Bytes, Floats, Ints, Spots, connected, measured_spots

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""Pixels of a neighbour that a pixel is ranked with: alignment errs by parts of a pixel."""
CERTAIN, FAINT = 12.0, 6.0
"""Code values of 8 bits beyond all ranked pixels that a spot must have somewhere, and at each of its pixels; no less than NOISY of the noise."""
NOISY = 3.0, 1.5
"""Multiples of the noise's standard deviation for both."""
SHOWN = 0.05
"""Part of a picture from which on it differs as a whole: a cut, a flash, a flow that failed."""
MOST = 400
"""Most spots of a frame; one with more is left as it is."""
LARGE = 6
"""Part of a picture's shorter side that a spot may be long: one of six."""
BLUNT = 12
"""Pixels of the small picture around a spot in which it leads the flow astray: half of DIS's patch and of the flow's smoothing."""
AWAY = 25
"""Side in pixels of the square, twice, over which the flow around a spot is averaged to replace it."""
AGREES = 2.0, 0.2, 2.0
"""Multiples of noise and contrast, and code values, by which both neighbours may differ where a spot lies."""
KNOWN = 2.2, 0.15, 2.0
"""The same for the difference of a spot's surroundings from either neighbour."""
NEAR, FAR = 0.045, 0.2
"""Parts of the shorter side within which the same spot is looked for: in either neighbour; and in both, at opposite sides."""
SIZES, SHADES = 3.0, 25.0
"""Times that a thing may be larger, and code values that it may be brighter, in one of two frames."""
LIKE = 0.5
"""Least overlap (intersection over union) of its masks where it is further away."""
STREAK, STREAKS, PARALLEL = 3.0, 6, 0.8
"""Length over width from which on a spot is a streak, the number of streaks in three frames that may be rain, and their least coherence."""


class Find:
    """The spots of a frame, the noise's standard deviation, and the picture's shorter side.

    `ways` lead to the frames before and after it, and `there` are the places (x, y) of the spots' middles in both, n x 2.
    """

    def __init__(self, spots: Spots, ways: list[Alignment], noise: float, size: tuple[int, ...]) -> None:
        self.spots, self.ways, self.noise, self.side = spots, ways, noise, min(size)
        self.there = [_there(spots.middles, way, size) for way in ways]


def look(picture: Picture, before: Picture, after: Picture) -> Find | None:
    """Return what stands out from both neighbours; None where the picture differs from them as a whole."""
    own, others = _luma(picture), (_luma(before), _luma(after))
    ways = [align(picture, before), align(picture, after)]
    views = [_view(other, way) for other, way in zip(others, ways, strict=True)]
    noise = _noise(own, views)
    faint, certain = max(FAINT, NOISY[1] * noise), max(CERTAIN, NOISY[0] * noise)
    odd = ranked(own, views)
    if np.count_nonzero(odd >= faint) > SHOWN * odd.size:
        return None
    pixels, numbers = connected(odd, faint, certain)
    if pixels.size and any(way.flow is not None for way in ways):
        ways = _led(ways, pixels, own.shape)
        views = [_view(other, way) for other, way in zip(others, ways, strict=True)]
        pixels, numbers = connected(ranked(own, views), faint, certain)
    if pixels.size and numbers[-1] >= MOST:
        return None
    longest = max(8, min(own.shape) // LARGE)
    return Find(measured_spots(own, views, pixels, numbers, faint, longest), ways, noise, own.shape)


def ranked(own: Bytes, views: list[Bytes]) -> Bytes:
    """Return by how much a pixel lies beyond all pixels of both aligned neighbours around it, in either direction."""
    before, after = views
    highest = np.maximum(cv2.dilate(before, CROSS), cv2.dilate(after, CROSS))
    lowest = np.minimum(cv2.erode(before, CROSS), cv2.erode(after, CROSS))
    return np.asarray(np.maximum(cv2.subtract(own, highest), cv2.subtract(lowest, own)), dtype=np.uint8)


def dirty(own: Find, before: Find | None, after: Find | None) -> list[int]:
    """List the spots of a frame that are dirt and not things that move."""
    if before is None and after is None:
        return []
    spots, finds = own.spots, (before, after)
    strength = np.abs(spots.contrast)
    likely = (spots.areas >= LEAST) & (spots.apart <= _bound(AGREES, own.noise, strength))
    likely &= spots.around <= _bound(KNOWN, own.noise, strength)
    if _rains([own, *finds]):
        likely &= (spots.boxes[:, 2:].min(axis=1) >= 4) & (spots.length < 2)
    return [int(k) for k in np.flatnonzero(likely) if not _flies(int(k), own, finds)]


def _bound(rule: tuple[float, float, float], noise: float, strength: Floats) -> Floats:
    return rule[0] * noise + rule[1] * strength + rule[2]


def _flies(k: int, own: Find, finds: tuple[Find | None, Find | None]) -> bool:
    """Return whether a spot is found again: near its place in a neighbour, or further away in both, on opposite sides."""
    near, far = max(8.0, NEAR * own.side), max(8.0, FAR * own.side)
    if any(len(_again(k, own, n, find, near)) for n, find in enumerate(finds)):
        return True
    there, back = (_again(k, own, n, find, far, LIKE) for n, find in enumerate(finds))
    return any((np.hypot(*(way + back).T) <= 2 + 0.25 * np.hypot(*way)).any() for way in there)


def _again(k: int, own: Find, side: int, find: Find | None, reach: float, overlap: float = 0.0) -> Floats:
    """Return the ways, n x 2, right and down, from a spot to those like it in a neighbour, as seen against the picture.

    They are of like size and brightness, and, where an overlap is asked for, of like shape.
    """
    if find is None:
        return np.zeros((0, 2))
    one, others = own.spots, find.spots
    ways = others.middles - own.there[side][k]
    ratio = one.areas[k] / others.areas
    like = (np.hypot(*ways.T) <= reach) & (one.contrast[k] * others.contrast >= 0)
    like &= (ratio >= 1 / SIZES) & (ratio <= SIZES) & (np.abs(one.luma[k] - others.luma) <= SHADES + 2 * own.noise)
    if overlap:
        for n in np.flatnonzero(like):
            like[n] = _overlap(one, k, others, int(n)) >= overlap
    return np.asarray(ways[like], dtype=np.float64)


def _overlap(one: Spots, k: int, other: Spots, n: int) -> float:
    """Return the intersection over the union of two spots whose middles are laid on each other."""
    side = 2 * int(max(*one.boxes[k, 2:], *other.boxes[n, 2:])) + 4
    masks = []
    for spots, index in ((one, k), (other, n)):
        mask = np.zeros((side, side), np.uint8)
        left, top = (
            round(side / 2 - float(p) + int(c))
            for p, c in zip(spots.middles[index], spots.boxes[index, :2], strict=True)
        )
        part = spots.mask(index)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        masks.append(mask)
    return float((masks[0] & masks[1]).sum()) / float((masks[0] | masks[1]).sum())


def _rains(finds: list[Find | None]) -> bool:
    """Return whether many streaks of three frames lie in one direction."""
    tables = [find.spots for find in finds if find]
    turns = np.concatenate([s.turn[(s.length >= STREAK) & (s.boxes[:, 2:].max(axis=1) >= 5)] for s in tables])
    return len(turns) >= STREAKS and float(abs(np.mean(np.exp(2j * turns)))) >= PARALLEL


def _luma(picture: Picture) -> Bytes:
    if picture.form.bits == 8 and picture.form.model != "rgb":
        return np.ascontiguousarray(picture.planes[0][..., 0])
    return np.asarray(np.clip(np.rint(picture.luma()), 0, 255), dtype=np.uint8)


def _view(other: Bytes, way: Alignment) -> Bytes:
    if way.flow is None:
        return other
    return np.asarray(np.clip(np.rint(way.aligned(other[..., None])[..., 0]), 0, 255), dtype=np.uint8)


def _noise(own: Bytes, views: list[Bytes]) -> float:
    """Return the standard deviation of what differs from frame to frame, from the median difference: 0.9539 of it for two normal deviates."""
    medians = [float(np.median(cv2.absdiff(own, view)[::3, ::3])) for view in views]
    return min(1.4826 * min(medians) / 2**0.5, 20.0)


def _led(ways: list[Alignment], pixels: Ints, size: tuple[int, ...]) -> list[Alignment]:
    """Return alignments whose flow near spots is that around them: they are not in the other picture, and lead it astray."""
    height, width = ways[0].error.shape
    rows, columns = np.divmod(pixels, size[1])
    spots = np.zeros((height, width), np.uint8)
    spots[rows * height // size[0], columns * width // size[1]] = 1
    side = 2 * BLUNT + 1
    bad = cv2.dilate(spots, np.ones((side, side), np.uint8)) > 0
    good = np.where(bad, np.float32(0), np.float32(1))
    known = _spread(good)
    there = bad & (known > 1e-3)
    np.maximum(known, np.float32(1e-3), out=known)
    return [way if way.flow is None else Alignment(_replaced(way.flow, good, known, there), way.error) for way in ways]


def _replaced(flow: Field, good: Field, known: Field, there: npt.NDArray[np.bool_]) -> Field:
    """Return a flow that is, `there`, the mean of what is `good` around it."""
    parts = []
    for part in cv2.split(flow):
        mean = _spread(part * good)
        mean /= known
        parts.append(np.where(there, mean, part))
    return np.dstack(parts)


def _spread(values: Field) -> Field:
    return np.asarray(cv2.blur(cv2.blur(values, (AWAY, AWAY)), (AWAY, AWAY)), dtype=np.float32)


def _there(middles: Floats, way: Alignment, size: tuple[int, ...]) -> Floats:
    """Return the places (n x 2: x, y) of points of a picture of (height, width) `size` in the other picture."""
    if way.flow is None:
        return middles
    height, width = way.flow.shape[:2]
    scale = np.array([size[1] / width, size[0] / height])
    columns, rows = np.minimum((middles / scale).astype(int), (width - 1, height - 1)).T
    return np.asarray(middles + way.flow[rows, columns] * scale, dtype=np.float64)
