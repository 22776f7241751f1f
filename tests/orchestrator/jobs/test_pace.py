"""Time left against the truth, on a simulated clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from orchestrator.jobs.pace import Pace

LOOK_S = 0.3
BEAT_S = 1.0


def steady(seconds: float) -> float:
    """Two workers of 2.1 frames a second that take half a second of each 40 frames to store them, in chunks out of step."""
    cycle, made = 40 / 2.1 + 0.5, 0.0
    for shift in (0.0, 7.0):
        whole, rest = divmod(max(0.0, seconds - shift), cycle)
        made += 40 * whole + min(40.0, int(rest / BEAT_S) * BEAT_S * 2.1)
    return made


def slowing(seconds: float) -> float:
    """A film whose second half is of finer grain: a fifth slower from 300 s on."""
    return steady(min(seconds, 300.0) + max(0.0, seconds - 300.0) / 1.2)


def simulate(
    made: Callable[[float], float],
    total: float,
    start_s: float,
    before: float = 0.0,
    away: tuple[float, float] = (0, 0),
) -> list[tuple[float, float, float]]:
    """Follow a job; return (share done, true seconds left, seconds left by the pace), without the seconds of absence `away`.

    The work begins `start_s` after the first look, with `before` frames done.
    """
    seen, pace, now = [], Pace(), 0.0
    while True:
        absent = away[0] <= now < away[1]
        lost = max(0.0, min(now, away[1]) - away[0]) if away[1] else 0.0
        done = before + made(max(0.0, now - start_s - lost))
        if done >= total:
            break
        pace.look(1e6 + now, done, working=now >= start_s / 2 and not absent)
        rate = pace.frames_a_second
        seen.append((now, lost, done / total, (total - done) / rate if rate else -1.0, absent))
        now += LOOK_S
    end = now
    absence = away[1] - away[0]
    return [(share, end - at - (absence - lost), left) for at, lost, share, left, absent in seen if not absent]


CASES = {
    "steady": simulate(steady, 2500, 8.0),
    "slowing": simulate(slowing, 2500, 8.0),
    "a worker comes back after ten minutes": simulate(steady, 2500, 8.0, away=(200.0, 800.0)),
    "resumed at a third": simulate(steady, 2500, 25.0, before=830.0),
}


@pytest.mark.parametrize("case", CASES)
def test_time_left_is_near_the_truth(case: str) -> None:
    """From a tenth of the work to the last tenth the error is at most 15% (a film that will slow down: once it has)."""
    told = [(share, truth, left) for share, truth, left in CASES[case] if 0.9 >= share >= 0.1 and left >= 0]
    if case.startswith("resumed"):  # a tenth of what is left to do
        told = [t for t in told if t[0] >= 0.4]
    if case == "slowing":
        told = [t for t in told if t[0] >= 0.8]
    assert len(told) > 100
    worst = max(abs(left - truth) / truth for _, truth, left in told)
    assert worst <= 0.15, worst


def test_it_does_not_jump_at_chunk_borders() -> None:
    """From one look to the next the predicted end moves by less than 2% of the whole time."""
    told = [(truth, left) for share, truth, left in CASES["steady"] if share >= 0.1 and left >= 0]
    moves = [abs((b[1] - b[0]) - (a[1] - a[0])) for a, b in itertools.pairwise(told)]
    assert max(moves) < 0.02 * told[0][0]


def test_nothing_is_said_before_two_samples() -> None:
    """A job of which no frame is made has no pace, and a job that was reset forgets its own."""
    pace = Pace()
    for second in range(30):
        pace.look(second, 100.0, working=True)
    assert pace.frames_a_second is None
    for second in range(30, 40):
        pace.look(second, 100.0 + 4 * (second - 29), working=True)
    assert pace.frames_a_second == pytest.approx(4.0)
    pace.look(41.0, 0.0, working=True)
    assert pace.frames_a_second is None
