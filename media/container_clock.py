"""The clocks of containers, to which they round times, and how fine Matroska's must be for a film."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from contract.errors import Unsupported
from contract.film import MAX_TIMESCALE
from media.codecs import SUFFIXES

if TYPE_CHECKING:
    import numpy.typing as npt

    Column = npt.NDArray[np.int64]

MILLISECOND = Fraction(1, 1000)
TRANSPORT = Fraction(1, 90_000)
FINE = Fraction(1, 1_000_000)
"""The clock of mp4 and mov for films whose own is finer than they can hold."""
MATROSKA = tuple(Fraction(1, 10**n) for n in range(3, 10))
"""Timestamp scales of Matroska that are tried, coarsest first (RFC 9559 5.1.2.9 counts in nanoseconds)."""


def container_tick(container: str, pts: Column, base: Fraction) -> Fraction:
    """Return the seconds to which `container` rounds the times `pts` (in `base`); 0 when it keeps them exactly.

    Matroska counts milliseconds unless frames would share a time; then its clock is finer.
    Raises Unsupported when frames would share a time whatever is done.
    """
    if container in ("mp4", "mov"):
        tick = Fraction(0) if base.denominator <= MAX_TIMESCALE else FINE
        candidates: tuple[Fraction, ...] = (tick,)
    elif container == "mpegts":
        candidates = (TRANSPORT,)
    else:
        candidates = MATROSKA
    for tick in candidates:
        if distinct(pts, base, tick):
            return tick
    rate = 1 / float(int(np.diff(pts).min()) * base)
    raise Unsupported(
        f"frames follow each other at up to {rate:.0f} a second, which {SUFFIXES[container]} cannot tell apart; "
        "name the result .mov or .mkv."
    )


def distinct(pts: Column, base: Fraction, tick: Fraction) -> bool:
    """Report whether rising times stay apart when they are rounded to `tick` seconds."""
    if not tick or len(pts) < 2:
        return True
    steps = np.diff(pts)
    if int(steps.min()) * base >= tick:
        return True
    # Only where the steps are short does it matter how times fall on the ticks.
    rounded = np.rint((pts - pts[0]).astype(np.float64) * float(base / tick))
    return bool((np.diff(rounded) > 0).all()) and int(steps.min()) * base * 2 > tick


def movie_timescale(clocks: Iterable[int]) -> int:
    """Return the ticks a second of edit lists in mp4 and mov in which times on all of `clocks` (ticks a second) are whole.

    FFmpeg's muxer cuts delays off to whole milliseconds by default, so that sound would begin up to 1 ms early. Where no
    common clock fits into 31 bits, return the finest of `clocks`, at least `FINE`: rounding still finds a sample's time.
    """
    clocks = tuple(clocks)
    whole = math.lcm(*clocks)
    return whole if whole <= MAX_TIMESCALE else max(*clocks, FINE.denominator)
