"""Planned times against those of a plain decode: a plan that is wrong is found, and mended clocks are left alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from media.columns import pack, unpack
from media.plain_decode import NO_TIME
from orchestrator.witness.time_check import wrong_times

BASE, TICKS = Fraction(1, 12800), Fraction(1, 25)
PLANNED = np.arange(50) * 512
DECODED = np.arange(50)


def test_equal_times_in_other_units_are_right() -> None:
    """512/12800 s are 1/25 s."""
    assert wrong_times(PLANNED, BASE, DECODED, TICKS) == ""


def test_a_frame_too_late_is_named() -> None:
    """From frame 30 on, one frame late: the words have both times and the count."""
    late = PLANNED + 512 * (np.arange(50) >= 30)
    words = wrong_times(late, BASE, DECODED, TICKS)
    assert words.startswith(
        "frame 30 is planned at 1.240000 s, and a plain decode of the source shows it at 1.200000 s"
    )
    assert "20 frames differ" in words


def test_frames_without_a_time_and_mended_clocks_tell_nothing() -> None:
    """A time that the decoder does not give, one that repeats, and a reading that ended early."""
    holes = DECODED.copy()
    holes[::3] = NO_TIME
    assert wrong_times(PLANNED, BASE, holes, TICKS) == ""
    repeated = DECODED.copy()
    repeated[7] = repeated[6]
    assert wrong_times(PLANNED + 512, BASE, repeated, TICKS) == ""
    assert wrong_times(PLANNED, BASE, DECODED[:20], TICKS) == ""
    assert wrong_times(PLANNED, BASE, DECODED[:0], TICKS) == ""


def test_missing_times_survive_being_stored() -> None:
    """The mark of a frame without a time is the smallest 64-bit number."""
    times = [0, NO_TIME, 40, 80]
    assert unpack(pack(times)).tolist() == times
