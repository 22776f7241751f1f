"""Deviations in a series of numbers, one of each frame: their size, and whether they are a fault or meant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SLOPE = 4.0
"""A trend is followed where its slope is so many times its own standard error."""
TREND, NOISE = 0.5, 1.0
"""Von Neumann's ratio of the deviations (mean squared step over mean square: 2 for noise, near 0 for what changes slowly) up to which they
are meant, as where a fade or a pan begins, and from which on they are a fault."""
FEWEST = 7
"""Frames of a shot in reach below which a fault is not told from what is meant."""
JUMP = 8.0
"""A step beyond so many times the median step is meant: a flash, a lamp that is switched on, a camera that is pushed."""


class Deviation(NamedTuple):
    """Deviation of one value from the trend of a series: its `size`, the `share` of it, 0 to 1, that is a fault, and the usual deviation."""

    size: float
    share: float
    usual: float


NONE = Deviation(0.0, 0.0, 0.0)


def deviation(values: list[float], at: int) -> Deviation:
    """Judge by how much the value at index `at` deviates from the trend: the mean, or the least squares line if its slope is certain."""
    count = len(values)
    if count < FEWEST:
        return NONE
    y = np.asarray(values, dtype=np.float64)
    k = np.arange(count, dtype=np.float64) - (count - 1) / 2
    rest = y - y.mean()
    across = float(np.square(k).sum())
    slope = float((k * rest).sum()) / across
    sloped = rest - slope * k
    error = np.sqrt(float(np.square(sloped).sum()) / (count - 2) / across)
    if abs(slope) > SLOPE * error:
        rest = sloped
    power = float(np.square(rest).sum())
    if power <= 0:
        return NONE
    ratio = float(np.square(np.diff(rest)).sum()) / power
    share = float(np.clip((ratio - TREND) / (NOISE - TREND), 0, 1))
    return Deviation(float(rest[at]), share, float(np.sqrt(power / count)))


def unbroken(values: list[float], at: int, least: float) -> slice:
    """Return the part of the series around index `at` without jumps.

    No step in it is further from the median step than JUMP median deviations, or than `least`.
    """
    steps = np.diff(np.asarray(values, dtype=np.float64))
    if not len(steps):
        return slice(at, at + 1)
    odd = np.abs(steps - np.median(steps))
    limit = max(least, JUMP * float(np.median(odd)))
    first = last = at
    while first > 0 and odd[first - 1] <= limit:
        first -= 1
    while last < len(steps) and odd[last] <= limit:
        last += 1
    return slice(first, last + 1)
