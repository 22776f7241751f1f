"""Words for several filters over time."""

from __future__ import annotations

from contract.time_filters import TIME_FILTERS, options_of


def test_several_options_are_one_list() -> None:
    """One needs it, two and more need them, with one "and" before the last."""
    names = [one.option for one in TIME_FILTERS]
    assert options_of(TIME_FILTERS[:1]) == (names[0], "needs", "it")
    assert options_of(TIME_FILTERS[:2]) == (f"{names[0]} and {names[1]}", "need", "them")
    assert options_of(TIME_FILTERS[:3]) == (f"{names[0]}, {names[1]} and {names[2]}", "need", "them")
