"""Spots of a frame in arrays, one row each: there can be hundreds in a frame, of which most are grain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

GROWN = 2
"""Pixels by which a spot grows from the pixels that stand out, where the frame differs from its neighbours in the same direction."""
RING = 4
"""Pixels beside a spot, from GROWN on, by which its surroundings are judged."""
FEWEST = 8
"""Pixels of surroundings that tell something."""
AT_ONCE = 1 << 15
"""Pixels that grow at a time, each into 25 places: a large frame may have hundreds of thousands."""
LEAST = 3
"""Pixels of the smallest spot whose surroundings are looked at."""


@dataclass(frozen=True)
class Spots:
    """Spots of a frame of `width` pixels.

    `boxes` are n x 4: left, top, width, height; `middles` n x 2: x, y. `pixels` are places in the flat picture, in order of spots: those of
    spot k begin at `starts[k]`, and end at `starts[k + 1]`. All others have n values. `luma` and `contrast` are means of the spot's own luma and of
    what it has over both neighbours; `apart` is how far the neighbours differ under it, and `around` how far either differs from the frame beside it,
    infinite where that is not known. `length` is that over the width, `turn` the direction in radians.
    """

    width: int
    pixels: Ints
    starts: Ints
    boxes: Ints
    middles: Floats
    areas: Ints
    luma: Floats
    contrast: Floats
    apart: Floats
    around: Floats
    length: Floats
    turn: Floats

    def of(self, k: int) -> Ints:
        """Return the pixels of a spot."""
        return self.pixels[self.starts[k] : self.starts[k + 1]]

    def mask(self, k: int) -> Bytes:
        """Return 1 at the pixels of a spot and 0 beside them, at the size of its box."""
        left, top, wide, tall = self.boxes[k]
        rows, columns = np.divmod(self.of(k), self.width)
        mask = np.zeros((tall, wide), np.uint8)
        mask[rows - top, columns - left] = 1
        return mask


def connected(odd: Bytes, faint: float, certain: float) -> tuple[Ints, Ints]:
    """Return the pixels of at least `faint` that are connected to one of at least `certain`, in order of spots, and the number of their spots from 0 on."""
    mask = odd >= np.uint8(min(255, int(np.ceil(faint))))
    pixels = np.flatnonzero(mask)
    if not pixels.size:
        return pixels, pixels
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    numbers = labels.ravel()[pixels]
    kept = np.zeros(count, bool)
    kept[numbers[odd.ravel()[pixels] >= certain]] = True
    chosen = kept[numbers]
    pixels, numbers = pixels[chosen], (np.cumsum(kept) - 1)[numbers[chosen]]
    order = np.argsort(numbers, kind="stable")
    return pixels[order], numbers[order]


def measured_spots(own: Bytes, views: list[Bytes], pixels: Ints, numbers: Ints, faint: float, longest: int) -> Spots:
    """Return what is known of the spots that `connected` found; `views` are the aligned neighbours. Spots longer than `longest` are left out."""
    over = (
        own.astype(np.int16) * 2 - views[0] - views[1]
    ).ravel()  # twice what the frame has over its neighbours' mean
    marked = np.zeros(own.shape, np.uint8)
    marked.ravel()[pixels] = 1
    pixels, numbers = _short(pixels, numbers, own.shape[1], longest)
    pixels, numbers = _grown(over, own.shape, pixels, numbers, faint)
    count = int(numbers[-1]) + 1 if numbers.size else 0
    areas = np.bincount(numbers, minlength=count)

    def mean(values: npt.NDArray[Any]) -> Floats:
        return np.bincount(numbers, values, minlength=count) / areas

    rows, columns = np.divmod(pixels, own.shape[1])
    x, y = mean(columns), mean(rows)
    # A pixel alone has 1/12 of variance in each direction.
    xx, yy = mean(columns * columns) - x * x + 1 / 12, mean(rows * rows) - y * y + 1 / 12
    xy = mean(rows * columns) - x * y
    root, middle = np.hypot((xx - yy) / 2, xy), (xx + yy) / 2
    starts = np.append(np.cumsum(areas) - areas, len(pixels))
    boxes = _boxes(rows, columns, starts)
    apart = cv2.absdiff(views[0], views[1])
    beside = np.maximum(cv2.absdiff(own, views[0]), cv2.absdiff(own, views[1]))
    return Spots(
        width=own.shape[1],
        pixels=pixels,
        starts=starts,
        boxes=boxes,
        middles=np.stack([x, y], axis=1),
        areas=areas,
        luma=mean(own.ravel()[pixels]),
        contrast=mean(over[pixels]) / 2,
        apart=mean(apart.ravel()[pixels]),
        around=_around(beside, marked, pixels, starts, boxes),
        length=np.sqrt((middle + root) / np.maximum(middle - root, 1 / 12)),
        turn=0.5 * np.arctan2(2 * xy, xx - yy),
    )


def _short(pixels: Ints, numbers: Ints, width: int, longest: int) -> tuple[Ints, Ints]:
    """Leave out spots that are too long, and number the others anew."""
    if not pixels.size:
        return pixels, numbers
    areas = np.bincount(numbers)
    boxes = _boxes(*np.divmod(pixels, width), np.append(np.cumsum(areas) - areas, len(pixels)))
    kept = boxes[:, 2:].max(axis=1) <= longest
    chosen = kept[numbers]
    return pixels[chosen], (np.cumsum(kept) - 1)[numbers[chosen]]


def _boxes(rows: Ints, columns: Ints, starts: Ints) -> Ints:
    if len(starts) < 2:
        return np.zeros((0, 4), np.int64)
    left, right, top, bottom = (f.reduceat(v, starts[:-1]) for v in (columns, rows) for f in (np.minimum, np.maximum))
    return np.stack([left, top, right - left + 1, bottom - top + 1], axis=1)


def _grown(
    over: npt.NDArray[np.int16], size: tuple[int, ...], pixels: Ints, numbers: Ints, faint: float
) -> tuple[Ints, Ints]:
    """Return the pixels of spots that have grown, and their numbers, in order."""
    height, width = size
    signs = np.where(np.bincount(numbers, over[pixels]) > 0, 1, -1)
    steps = np.arange(-GROWN, GROWN + 1)
    down, right = (part.ravel()[:, None] for part in np.meshgrid(steps, steps))
    keys = [numbers * over.size + pixels]
    for first in range(0, len(pixels), AT_ONCE):
        rows, columns = np.divmod(pixels[first : first + AT_ONCE], width)
        y, x = rows + down, columns + right
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        near, owners = (y * width + x)[inside], np.broadcast_to(numbers[first : first + AT_ONCE], y.shape)[inside]
        bright = over[near] * signs[owners] > 2 * faint
        keys.append(np.unique(owners[bright] * over.size + near[bright]))
    owners, near = np.divmod(np.unique(np.concatenate(keys)), over.size)
    return near, owners


def _around(beside: Bytes, marked: Bytes, pixels: Ints, starts: Ints, boxes: Ints) -> Floats:
    """Return the mean of `beside` in a ring around each spot, without the surroundings of all spots."""
    height, width = marked.shape
    inner, outer = (np.ones((2 * reach + 1, 2 * reach + 1), np.uint8) for reach in (GROWN, RING))
    taken = cv2.dilate(marked, inner)
    found = np.full(len(boxes), np.inf)
    for k in np.flatnonzero(np.diff(starts) >= LEAST):
        left, top, wide, tall = (int(value) for value in boxes[k])
        first, high = max(0, left - RING), max(0, top - RING)
        window = slice(high, min(height, top + tall + RING)), slice(first, min(width, left + wide + RING))
        mask = np.zeros((window[0].stop - high, window[1].stop - first), np.uint8)
        rows, columns = np.divmod(pixels[starts[k] : starts[k + 1]], width)
        mask[rows - high, columns - first] = 1
        ring = cv2.subtract(cv2.dilate(mask, outer), cv2.bitwise_or(cv2.dilate(mask, inner), taken[window]))
        if cv2.countNonZero(ring) >= FEWEST:
            found[k] = cv2.mean(beside[window], ring)[0]
    return found
