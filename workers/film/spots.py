"""Spots that stand out from both neighbours of a frame, and the evidence that tells dirt from what moves.

Dirt lies on one frame: its surroundings are in both neighbours, which agree with each other where it lies. What flies through the picture is in a
neighbour too, elsewhere; rain falls in parallel streaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from workers.film.motion import Alignment, align
from workers.film.picture import Picture

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]

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
LEAST = 3
"""Pixels of the smallest spot."""
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


@dataclass(frozen=True)
class Spot:
    """A spot of a frame. `box` is left, top, width, height; `mask` covers it.

    `there` is the place of its `middle` (x, y) in the frame before and in that after. `luma` and `contrast` are means of its own luma and of what it has
    over both neighbours; `apart` is how far they differ under it, and `around` how far either differs from the frame beside it.
    """

    box: tuple[int, int, int, int]
    mask: Bytes
    area: int
    middle: tuple[float, float]
    there: tuple[tuple[float, float], tuple[float, float]]
    luma: float
    contrast: float
    apart: float
    around: float
    length: float
    turn: float


@dataclass(frozen=True)
class Find:
    """The spots of a frame, the ways to the frames before and after it, the noise's standard deviation, and the picture's shorter side."""

    spots: list[Spot]
    ways: tuple[Alignment, Alignment]
    noise: float
    side: int


def look(picture: Picture, before: Picture, after: Picture) -> Find | None:
    """Return what stands out from both neighbours; None where the picture differs from them as a whole."""
    own, others = _luma(picture), (_luma(before), _luma(after))
    ways = (align(picture, before), align(picture, after))
    views = [_view(other, way) for other, way in zip(others, ways, strict=True)]
    noise = _noise(own, views)
    odd = ranked(own, views)
    if float((odd >= _faint(noise)).mean()) > SHOWN:
        return None
    labels = _components(odd, noise)
    if labels is not None and any(way.flow is not None for way in ways):
        ways = (_led(ways[0], labels), _led(ways[1], labels))
        views = [_view(other, way) for other, way in zip(others, ways, strict=True)]
        labels = _components(ranked(own, views), noise)
    found = Find([], ways, noise, min(own.shape))
    if labels is None:
        return found
    boxes = _boxes(labels)
    if len(boxes) > MOST:
        return None
    over = own.astype(np.int16) * 2 - views[0] - views[1]
    found.spots.extend(spot for k, box in boxes if (spot := _spot(k, box, labels, own, views, over, found)) is not None)
    return found


def ranked(own: Bytes, views: list[Bytes]) -> Bytes:
    """Return by how much a pixel lies beyond all pixels of both aligned neighbours around it, in either direction."""
    before, after = views
    highest = np.maximum(cv2.dilate(before, CROSS), cv2.dilate(after, CROSS))
    lowest = np.minimum(cv2.erode(before, CROSS), cv2.erode(after, CROSS))
    return np.asarray(np.maximum(cv2.subtract(own, highest), cv2.subtract(lowest, own)), dtype=np.uint8)


def is_dirt(spot: Spot, own: Find, before: Find | None, after: Find | None) -> bool:
    """Return whether a spot is dirt and not a thing that moves."""
    strength = abs(spot.contrast)
    if spot.area < LEAST or spot.apart > _bound(AGREES, own.noise, strength):
        return False
    if spot.around > _bound(KNOWN, own.noise, strength):
        return False
    if before is None and after is None:
        return False
    near, far = max(8.0, NEAR * own.side), max(8.0, FAR * own.side)
    finds = before, after
    if any(_moves(spot, n, find, near, own.noise) for n, find in enumerate(finds)):
        return False
    there, back = (_moves(spot, n, find, far, own.noise, LIKE) for n, find in enumerate(finds))
    for x, y in there:
        if any(np.hypot(x + u, y + v) <= 2 + 0.25 * np.hypot(x, y) for u, v in back):
            return False
    return not (_rains([own, before, after]) and (min(spot.box[2:]) < 4 or spot.length >= 2))


def _bound(rule: tuple[float, float, float], noise: float, strength: float) -> float:
    return rule[0] * noise + rule[1] * strength + rule[2]


def _moves(
    spot: Spot, side: int, find: Find | None, reach: float, noise: float, overlap: float = 0.0
) -> list[tuple[float, float]]:
    """List the ways, right and down, from a spot to those like it in a neighbour, as seen against the picture."""
    x, y = spot.there[side]
    return [
        (other.middle[0] - x, other.middle[1] - y)
        for other in (find.spots if find else ())
        if np.hypot(other.middle[0] - x, other.middle[1] - y) <= reach and _alike(spot, other, noise, overlap)
    ]


def _alike(one: Spot, other: Spot, noise: float, overlap: float) -> bool:
    """Return whether two spots may be one thing: of like size and brightness, and, where that is asked for, of like shape."""
    if one.contrast * other.contrast < 0 or not 1 / SIZES <= one.area / other.area <= SIZES:
        return False
    if abs(one.luma - other.luma) > SHADES + 2 * noise:
        return False
    if not overlap:
        return True
    side = 2 * max(*one.mask.shape, *other.mask.shape) + 4
    masks = []
    for spot in (one, other):
        mask = np.zeros((side, side), np.uint8)
        left, top = (round(side / 2 - p + corner) for p, corner in zip(spot.middle, spot.box[:2], strict=True))
        mask[top : top + spot.mask.shape[0], left : left + spot.mask.shape[1]] = spot.mask
        masks.append(mask)
    return float((masks[0] & masks[1]).sum()) >= overlap * float((masks[0] | masks[1]).sum())


def _rains(finds: list[Find | None]) -> bool:
    """Return whether many streaks of three frames lie in one direction."""
    turns = [s.turn for find in finds if find for s in find.spots if s.length >= STREAK and max(s.box[2:]) >= 5]
    return len(turns) >= STREAKS and float(abs(np.mean(np.exp(2j * np.array(turns))))) >= PARALLEL


def _luma(picture: Picture) -> Bytes:
    return np.asarray(np.clip(np.rint(picture.luma()), 0, 255), dtype=np.uint8)


def _view(other: Bytes, way: Alignment) -> Bytes:
    return np.ascontiguousarray(way.aligned(other[..., None])[..., 0])


def _noise(own: Bytes, views: list[Bytes]) -> float:
    """Return the standard deviation of what differs from frame to frame, from the median difference: 0.9539 of it for two normal deviates."""
    medians = [float(np.median(cv2.absdiff(own, view)[::3, ::3])) for view in views]
    return min(1.4826 * min(medians) / 2**0.5, 20.0)


def _faint(noise: float) -> float:
    return max(FAINT, NOISY[1] * noise)


def _components(odd: Bytes, noise: float) -> Labels | None:
    """Return the number of each connected spot at its pixels, 0 beside them; None where there is none. Spots have a certain pixel."""
    certain = odd >= max(CERTAIN, NOISY[0] * noise)
    if not certain.any():
        return None
    _, labels = cv2.connectedComponents((odd >= _faint(noise)).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    kept = np.zeros(int(labels.max()) + 1, np.int32)
    numbers = np.unique(labels[certain])
    kept[numbers] = np.arange(1, len(numbers) + 1)
    return np.asarray(kept[labels], dtype=np.int32)


def _boxes(labels: Labels) -> list[tuple[int, tuple[slice, slice]]]:
    """List the number of each spot and the rows and columns that it spans."""
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    order = np.argsort(numbers, kind="stable")
    rows, columns, numbers = rows[order], columns[order], numbers[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=0))
    edges = [f.reduceat(v, starts) for v in (rows, columns) for f in (np.minimum, np.maximum)]
    return [
        (int(number), (slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)))
        for number, (top, bottom, left, right) in zip(numbers[starts], np.transpose(edges), strict=True)
    ]


def _led(way: Alignment, labels: Labels) -> Alignment:
    """Return an alignment whose flow near spots is that around them: they are not in the other picture, and lead it astray."""
    if way.flow is None:
        return way
    height, width = way.flow.shape[:2]
    spots = cv2.resize((labels > 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
    side = 2 * BLUNT + 1
    bad = cv2.dilate(spots.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    good = np.where(bad, np.float32(0), np.float32(1))
    sums = np.dstack([way.flow * good[..., None], good])
    for _ in range(2):
        sums = np.asarray(cv2.blur(sums, (AWAY, AWAY)), dtype=np.float32)
    there = bad & (sums[..., 2] > 1e-3)
    flow = way.flow.copy()
    flow[there] = sums[there][:, :2] / sums[there][:, 2:]
    return Alignment(flow, way.error)


def _spot(
    number: int,
    box: tuple[slice, slice],
    labels: Labels,
    own: Bytes,
    views: list[Bytes],
    over: npt.NDArray[np.int16],
    find: Find,
) -> Spot | None:
    """Return what is known of a spot, None if it is too large; `over` is twice what the frame has over its neighbours' mean."""
    rows, columns = box
    if max(rows.stop - rows.start, columns.stop - columns.start) > max(8, find.side // LARGE):
        return None
    part = (
        slice(max(0, rows.start - 7), min(own.shape[0], rows.stop + 7)),
        slice(max(0, columns.start - 7), min(own.shape[1], columns.stop + 7)),
    )
    core = (labels[part] == number).astype(np.uint8)
    own, before, after = own[part], views[0][part], views[1][part]
    contrast = over[part]
    sign = 1 if contrast[core > 0].sum() > 0 else -1
    wide = cv2.dilate(core, np.ones((5, 5), np.uint8))
    mask = ((wide > 0) & (contrast * sign > 2 * _faint(find.noise))).astype(np.uint8) | core
    other = ((labels[part] > 0) & (core == 0)).astype(np.uint8) | mask
    ring = (cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0) & (cv2.dilate(other, np.ones((5, 5), np.uint8)) == 0)
    inside = mask > 0
    apart = float(cv2.absdiff(before, after)[inside].mean())
    beside = np.maximum(cv2.absdiff(own, before), cv2.absdiff(own, after))
    around = float(beside[ring].mean()) if ring.sum() >= 8 else float("inf")
    y, x = np.nonzero(inside)
    top, left = int(y.min()), int(x.min())
    middle = float(x.mean()) + part[1].start, float(y.mean()) + part[0].start
    length, turn = _shape(x, y)
    return Spot(
        box=(left + part[1].start, top + part[0].start, int(x.max()) - left + 1, int(y.max()) - top + 1),
        mask=np.ascontiguousarray(mask[top : int(y.max()) + 1, left : int(x.max()) + 1]),
        area=len(x),
        middle=middle,
        there=(_there(middle, find.ways[0], labels.shape), _there(middle, find.ways[1], labels.shape)),
        luma=float(own[inside].mean()),
        contrast=float(contrast[inside].mean()) / 2,
        apart=apart,
        around=around,
        length=length,
        turn=turn,
    )


def _shape(x: npt.NDArray[np.intp], y: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return the length over the width of a set of pixels, and its direction in radians, from its second moments."""
    u, v = x - x.mean(), y - y.mean()
    # A pixel alone has 1/12 of variance in each direction.
    xx, yy, xy = float((u * u).mean()) + 1 / 12, float((v * v).mean()) + 1 / 12, float((u * v).mean())
    root = float(np.hypot((xx - yy) / 2, xy))
    middle = (xx + yy) / 2
    return float(np.sqrt((middle + root) / max(middle - root, 1 / 12))), 0.5 * float(np.arctan2(2 * xy, xx - yy))


def _there(middle: tuple[float, float], way: Alignment, size: tuple[int, ...]) -> tuple[float, float]:
    """Return the place of a point of a picture of (height, width) `size` in the other picture."""
    if way.flow is None:
        return middle
    height, width = way.flow.shape[:2]
    across, down = size[1] / width, size[0] / height
    right, low = way.flow[min(height - 1, int(middle[1] / down)), min(width - 1, int(middle[0] / across))]
    return middle[0] + float(right) * across, middle[1] + float(low) * down
