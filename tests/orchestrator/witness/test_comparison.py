"""Fingerprints of workers held against those of a plain decode: every kind of difference is found where it is."""

from __future__ import annotations

import numpy as np
import pytest

from contract.film import Span
from media.decoding import UNDECODED
from media.fingerprints import ABSENT
from orchestrator.witness.comparison import Difference, differences, excused


def prints(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint32)


FILM = list(range(100, 120))


@pytest.mark.parametrize(
    ("ours", "first", "count", "other"),
    [
        ([*FILM[:5], 7, *FILM[6:]], 5, 1, 1),
        ([*FILM[:5], FILM[6], FILM[5], *FILM[7:]], 5, 2, 2),
        ([*FILM[:5], ABSENT, *FILM[6:]], 5, 1, 1),
        ([*FILM[:5], *FILM[6:]], 5, 0, 1),
        ([*FILM[:5], FILM[4], *FILM[5:]], 5, 1, 0),
        (FILM[:-1], 19, 0, 1),
        ([*FILM[:-1], ABSENT], 19, 1, 1),
        ([ABSENT, *FILM[1:]], 0, 1, 1),
    ],
    ids=["changed", "swapped", "missing", "left out", "doubled", "last left out", "last missing", "first missing"],
)
def test_a_difference_is_found_at_its_place(ours: list[int], first: int, count: int, other: int) -> None:
    """One difference, at the position and with the counts on both sides."""
    (found,) = differences(prints(ours), prints(FILM))
    assert (found.first, found.count, found.other) == (first, count, other)


def test_equal_readings_have_no_difference() -> None:
    """Equal frames, and a frame that neither has, are no difference; nor is what a sample did not decode."""
    assert differences(prints(FILM), prints(FILM)) == []
    assert differences(prints([*FILM[:5], ABSENT, *FILM[5:]]), prints(FILM)) == []
    assert differences(prints(FILM), prints(FILM[:8]), whole=False) == []
    assert differences(prints([1, *FILM[1:]]), prints(FILM[:8]), whole=False) == [
        Difference(0, 1, 0, 1, ours=1, plain=100)
    ]


def test_long_stretches_of_equal_frames_are_compared_in_time() -> None:
    """A film of 100,000 black frames with one more on one side is aligned without a table of all pairs."""
    black = np.full(100_000, 9, np.uint32)
    (found,) = differences(black, np.full(100_001, 9, np.uint32))
    assert (found.count, found.other) == (0, 1)


def test_only_damage_that_both_sides_see_excuses() -> None:
    """A worker's word alone does not excuse a difference, nor does a complaint of the plain decode elsewhere."""
    found = Difference(10, 3, 10, 3)
    damage = [Span(11, 1, "the decoder refuses its data")]
    assert not excused(found, damage, [])
    assert not excused(found, [], [(10, "broken")])
    assert not excused(found, damage, [(500, "broken")])
    assert not excused(found, [Span(40, 1, "")], [(10, "broken")])
    assert excused(found, damage, [(10, "broken")]) == "broken"
    assert excused(found, damage, [], [Span(9, 5, "the container marks it")]) == "the container marks it"
    assert excused(found, [Span(10, 3, UNDECODED)], []) == UNDECODED
