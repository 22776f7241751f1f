"""The check of a film's planned times against those of a plain decode of its source. Pure."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from contract.job import where
from media.plain_decode import NO_TIME

Column = npt.NDArray[np.int64]


def wrong_times(planned: Column, base: Fraction, decoded: Column, ticks: Fraction) -> str:
    """Describe the first frame that is planned for another time than a plain decode gives it; empty where there is none.

    `planned` are the delivered frames' times in `base` seconds, `decoded` those that came out of the decoder, in `ticks`
    seconds, NO_TIME where it gave none; it may have ended early. Times that repeat or fall back have to be mended, and
    tell nothing.
    """
    planned = planned[: len(decoded)]
    known = np.flatnonzero(decoded[: len(planned)] != NO_TIME)
    times = decoded[known]
    if not len(known) or (np.diff(times) <= 0).any():
        return ""
    scale = ticks / base
    off = planned[known] * scale.denominator != times * scale.numerator
    if not off.any():
        return ""
    first = int(known[off][0])
    mine, other = float(int(planned[first]) * base), float(int(decoded[first]) * ticks)
    count = int(off.sum())
    return (
        f"{where(first, 1)} is planned at {mine:.6f} s, and a plain decode of the source shows it at {other:.6f} s"
        + (f" ({count} frames differ)" if count > 1 else "")
    )
