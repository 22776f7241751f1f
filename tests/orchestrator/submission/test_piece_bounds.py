"""Bounds of a piece: one text for each value, and none that means nothing."""

from __future__ import annotations

import pytest

from contract.errors import UsageError
from contract.piece import Bounds
from orchestrator.submission.piece_bounds import bound, bounds


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("90", "90"),
        ("1:30", "90"),
        ("0:01:30", "90"),
        ("0:01:30.50", "90.5"),
        ("90.000", "90"),
        ("100", "100"),
        ("0", "0"),
        ("1:00:00", "3600"),
        ("0.04", "0.04"),
        ("frame:250", "frame:250"),
        ("frame:007", "frame:7"),
    ],
)
def test_one_value_has_one_text(given: str, meant: str) -> None:
    """The same bound in another notation is the same job."""
    assert bound(given) == meant


@pytest.mark.parametrize(
    "given", ["", "x", "-1", "1:90", "1:75:00", "1:2:3:4", "frame:", "frame:-1", "1,5", "٣", "1e3", "5s"]
)
def test_what_is_no_time_is_refused(given: str) -> None:
    """The sentence names the value."""
    with pytest.raises(UsageError, match="is no time"):
        bound(given)


@pytest.mark.parametrize(("start", "end"), [("10", "10"), ("1:30", "80"), ("frame:5", "frame:5"), (None, "0")])
def test_bounds_with_nothing_between_them_are_refused(start: str | None, end: str) -> None:
    """Two times, or two frames, in the wrong order; a time and a frame are compared when the film is known."""
    with pytest.raises(UsageError, match="nothing lies between"):
        bounds(start, end)


def test_bounds_of_two_kinds_wait_for_the_film() -> None:
    """Frame 5 may be before or after a second."""
    assert bounds("1", "frame:5") == Bounds("1", "frame:5")
    assert bounds(None, None) is None
