"""Brightness that flickers in parts of the picture: a coarse grid of levels, each followed through its shot where the picture lets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from workers.film.trend import FEWEST, deviation, unbroken

if TYPE_CHECKING:
    from workers.film.picture import Picture, Plane

CELL = 10
"""Pixels of the small luma on a side of a cell of the grid: the median of a hundred tells a level from grain."""
MOST_OF_IT = 0.8
"""Share of a cell's pixels that must be neither black nor white."""
FOLLOWING, FOLLOWING_SHARE = 2.0, 0.025
"""Code values, and share of the cell's mean, up to whose larger a cell's pixels follow one gain (median error); where something moves they do not."""
LARGEST_STEP = 24.0
"""Code values beyond which a step of a cell is meant, as where something large and even moves through it."""
SMALLEST = 0.5
"""Code values of deviation, root mean square, that are no local flicker."""
LEAST_WEIGHT = 0.25
"""Share of judged cells around one, weighted by nearness, below which it gets a part of their correction only."""
BRIDGED = 2
"""Cells beyond those that follow to which their steps reach, where a path would end otherwise."""
DARKEST = 8.0
"""Code values above black below which a gain cannot be told."""
LEAST_JUMP = 4.0
"""Code values of a change of a cell's level that is never taken for a jump."""

Grid = npt.NDArray[np.float32]
"""Rows x columns of cells."""


def cells(small: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the pixels of each cell, rows x columns x pixels; those of a part of a cell at the right and the bottom are left out."""
    rows, columns = (max(1, side // CELL) for side in small.shape)
    height, width = small.shape[0] // rows, small.shape[1] // columns
    whole = small[: rows * height, : columns * width].reshape(rows, height, columns, width)
    return whole.transpose(0, 2, 1, 3).reshape(rows, columns, height * width)


def aligned(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return `before` moved by a shift of the whole picture to where it is in `after`, or as it is where that is nearer.

    The shift is found by phase correlation (Kuglin and Hines, 1975).
    """
    height, width = before.shape
    if min(height, width) < CELL:
        return before
    (right, down), _ = cv2.phaseCorrelate(
        before - before.mean(), after - after.mean(), cv2.createHanningWindow((width, height), cv2.CV_32F)
    )
    if max(abs(right), abs(down)) > CELL:
        return before
    matrix = np.array([[1, 0, right], [0, 1, down]], dtype=np.float64)
    moved = np.asarray(
        cv2.warpAffine(before, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        dtype=np.float32,
    )
    return moved if np.abs(after - moved).mean() < np.abs(after - before).mean() else before


def steps(expected: npt.NDArray[np.float32], after: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> Grid:
    """Return the logarithm of each cell's gain between two small lumas, NaN where its pixels do not follow one.

    Lumas are above black. `expected` is the earlier one on the line that leads to the later one, and `valid` where both are neither black nor white.
    """
    bright = valid & (expected >= DARKEST)
    counts = cells(bright.astype(np.float32)).mean(-1)
    ratios = cells(np.where(bright, after / np.maximum(expected, DARKEST), np.float32(1)))
    gain = np.median(ratios, axis=-1)
    error = np.median(np.abs(cells(after) - gain[..., None] * cells(expected)), axis=-1)
    level = cells(expected).mean(-1)
    follows = (
        (counts > MOST_OF_IT)
        & (error <= np.maximum(FOLLOWING, FOLLOWING_SHARE * level))
        & (np.abs(gain - 1) * level <= LARGEST_STEP)
        & (gain > 0)
    )
    return _bridged(np.where(follows, np.log(np.maximum(gain, 0.1)), np.nan))


def _bridged(grid: npt.NDArray[np.float64]) -> Grid:
    """Return the steps with those of cells that do not follow taken from the cells around them, NaN where too few of these do: light is smooth."""
    known = ~np.isnan(grid)
    for _ in range(BRIDGED):
        weight = _smooth(known.astype(np.float64))
        near = _smooth(np.where(known, grid, 0.0)) / np.maximum(weight, LEAST_WEIGHT)
        grid = np.where(known, grid, np.where(weight >= LEAST_WEIGHT, near, np.nan))
        known = ~np.isnan(grid)
    return grid.astype(np.float32)


def corrections(path: list[Grid], index: int, own: npt.NDArray[np.float32]) -> Grid | None:
    """Return the relative change of brightness of each cell of a frame, None where it has none.

    `path` has the steps that lead to each frame of a shot from the one before it (the first is not read), `index` the frame's own place, and
    `own` its small luma above black.
    """
    level = np.maximum(cells(own).mean(-1), DARKEST).astype(np.float64)
    found, judged = np.zeros(level.shape), np.zeros(level.shape)
    series = np.stack(path) * level
    for row, column in np.ndindex(found.shape):
        values = series[:, row, column]
        walls = [int(at) + 1 for at in np.flatnonzero(np.isnan(values[1:]))]
        first = max((wall for wall in walls if wall <= index), default=0)
        last = min((wall for wall in walls if wall > index), default=len(values))
        levels = [0.0, *np.cumsum(values[first + 1 : last])]
        part = unbroken(levels, index - first, LEAST_JUMP)
        if part.stop - part.start < FEWEST:
            continue
        judged[row, column] = 1.0
        off = deviation(levels[part], index - first - part.start)
        if off.usual >= SMALLEST:
            found[row, column] = -off.share * off.size / level[row, column]
    if np.abs(found * level).max() < SMALLEST:
        return None
    # Light is smooth: cells that could not be judged get the correction of those around them, and no edge of a cell is seen.
    around, weight = _smooth(found), _smooth(judged)
    return np.asarray(np.expm1(around / np.maximum(weight, LEAST_WEIGHT)), dtype=np.float32)


def _smooth(grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kernel = np.array([0.25, 0.5, 0.25])
    return np.asarray(cv2.sepFilter2D(grid, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE))


def relit(picture: Picture, planes: list[Plane], related: Grid, black: float) -> list[Plane]:
    """Return planes as floats whose brightness above `black` (of 8 bits) changes by the smooth field through `related`."""
    middle = float(1 << (picture.form.bits - 1))
    made: list[Plane] = []
    for plane, members in zip(planes, picture.form.order, strict=True):
        chroma = picture.form.model == "yuv" and 0 not in members
        zero = np.float32(middle if chroma else black * picture.step)
        field = cv2.resize(related, (plane.shape[1], plane.shape[0]), interpolation=cv2.INTER_LINEAR)[..., None]
        made.append((plane.astype(np.float32) - zero) * (1 + field) + zero)
    return made
