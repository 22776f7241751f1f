"""Fair shares among submitters: no place wasted, no quota exceeded, and nobody ahead by more jobs or more priority."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.service.fair_share import USUAL, Claimant, share, turn

CLAIMANTS = st.lists(
    st.builds(
        Claimant,
        job=st.uuids().map(str),
        priority=st.integers(0, 9),
        open=st.integers(0, 40),
        outstanding=st.integers(0, 30),
        submitter=st.sampled_from(["ana", "ben", "chi", ""]),
    ),
    max_size=8,
    unique_by=lambda c: c.job,
)


def by_submitter(claimants: list[Claimant], given_out: dict[str, int]) -> Counter[str]:
    """Count the places that each submitter's jobs were given."""
    whose = {c.job: c.submitter for c in claimants}
    found: Counter[str] = Counter()
    for job, count in given_out.items():
        found[whose[job]] += count
    return found


@settings(deadline=None)
@given(CLAIMANTS, st.integers(0, 64), st.integers(0, 40))
def test_no_place_is_wasted_and_no_quota_exceeded(claimants: list[Claimant], places: int, limit: int) -> None:
    """Every place that a job may use is given, however the shares are; with a quota, a submitter reaches it and no more."""
    found = by_submitter(claimants, share(claimants, places, limit))
    room = 0
    for name in {c.submitter for c in claimants}:
        own = [c for c in claimants if c.submitter == name]
        outstanding, wanted = sum(c.outstanding for c in own), sum(c.open for c in own)
        most = min(wanted, max(0, limit - outstanding)) if limit else wanted
        assert found[name] <= most
        room += most
    assert found.total() == min(places, room)


@settings(deadline=None)
@given(CLAIMANTS, st.integers(0, 64), st.data())
def test_asking_for_more_takes_nothing_from_others(claimants: list[Claimant], places: int, data: st.DataObject) -> None:
    """Jobs of the usual priority or above may be raised to any: what each submitter is given stays the same."""
    usual = [replace(c, priority=max(USUAL, c.priority)) for c in claimants]
    raised = [replace(c, priority=data.draw(st.integers(USUAL, 9))) for c in usual]
    assert by_submitter(usual, share(usual, places)) == by_submitter(raised, share(raised, places))


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=6), st.integers(0, 64))
def test_submitters_are_level_whatever_the_number_of_their_jobs(jobs: list[int], places: int) -> None:
    """A submitter of twenty jobs gets as many places as one of a single job, to within one."""
    claimants = [
        Claimant(f"{n}-{job}", USUAL, 1000, 0, f"submitter {n}") for n, count in enumerate(jobs) for job in range(count)
    ]
    found = by_submitter(claimants, share(claimants, places))
    counts = [found[f"submitter {n}"] for n in range(len(jobs))]
    assert sum(counts) == places
    assert max(counts) - min(counts) <= 1


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 400))
def test_one_who_has_more_in_flight_waits(ana: int, ben: int, places: int) -> None:
    """Places first bring a submitter with less in flight level with one with more, and are halved from there on."""
    found = share([Claimant("a", USUAL, 10**6, ana, "ana"), Claimant("b", USUAL, 10**6, ben, "ben")], places)
    after = ana + found.get("a", 0), ben + found.get("b", 0)
    assert abs(after[0] - after[1]) <= max(1, abs(ana - ben) - places)


def test_low_priority_steps_back_for_everybody() -> None:
    """Work of priority 3 gets half of another submitter's share, of 0 a sixteenth; alone it gets all there is."""
    ana = Claimant("a", USUAL, 1000, 0, "ana")
    for priority, places, expected in ((USUAL, 30, 15), (3, 30, 10), (0, 34, 2)):
        low = Claimant("b", priority, 1000, 0, "ben")
        assert share([ana, low], places) == {"a": places - expected, "b": expected}
        assert share([low], places) == {"b": places}
    assert share([replace(ana, open=3), replace(low, submitter="ben")], 30) == {"a": 3, "b": 27}


def test_priority_orders_ones_own_jobs() -> None:
    """An urgent job takes its submitter's places from the others of the same submitter."""
    urgent, own = Claimant("urgent", 6, 1000, 0, "ana"), Claimant("own", USUAL, 1000, 0, "ana")
    found = share([urgent, own, Claimant("other", USUAL, 1000, 0, "ben")], 40)
    assert found == {"urgent": 16, "own": 4, "other": 20}


def test_submitters_take_turns_at_long_steps() -> None:
    """Before a submitter's second ingest comes another's first; what is below the usual priority comes last."""
    keys = [
        turn(USUAL, 0, 10**9, "other's film"),
        turn(9, 1, 1, "urgent, but its submitter has one at hand"),
        turn(USUAL, 1, 5, "small"),
        turn(USUAL, 1, 50, "large"),
        turn(USUAL - 1, 0, 1, "below the usual"),
        turn(0, 0, 1, "lowest"),
    ]
    assert all(one < following for one, following in pairwise(keys))
