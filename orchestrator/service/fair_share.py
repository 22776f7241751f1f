"""Fair shares of the queue and of an orchestrator's long steps: who comes next. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOOK_AHEAD_S = 4.0
"""Seconds for which workers have chunks to take without an orchestrator; a restarted one takes 2-3 s."""


def ahead(workers: int, running: int, pace: float, window: int) -> int:
    """Return the number of chunks that may wait for `workers`, of which `running` are busy, at `pace` chunks a second.

    One for each idle worker plus those that end within LOOK_AHEAD_S; at most `window` per worker. The queue is first in,
    first out: with more, a small job would wait behind minutes of a large job's chunks.
    """
    wanted = max(0, workers - running) + math.ceil(pace * LOOK_AHEAD_S)
    return max(2, min(window * workers, wanted))


ACTS = 2
"""Long steps (ingests, assemblies) that an orchestrator does at a time."""

MOST_ACTS = 3
"""The same, with those that are more urgent or much smaller than all others at hand."""

_SMALLER = 10


def may_begin(job: tuple[int, int, str], running: Sequence[tuple[int, int, str]]) -> bool:
    """Return True when a long step of `job` may begin beside those `running`; each is (-priority, bytes of sources, id).

    One more than ACTS may when it is of a higher priority than all of them, or a tenth of their size: two long films
    must not hold up what is urgent or done in no time.
    """
    if len(running) < ACTS:
        return True
    return len(running) < MOST_ACTS and (
        all(job[0] < other[0] for other in running) or all(job[1] * _SMALLER <= other[1] for other in running)
    )


@dataclass(frozen=True)
class Claimant:
    """A job with chunks to publish."""

    job: str
    priority: int
    open: int
    """Chunks that are neither settled, leased nor published."""
    outstanding: int
    """Chunks that are leased or published."""


def share(claimants: list[Claimant], places: int) -> dict[str, int]:
    """Divide `places` of the queue among jobs, one at a time, always to the one furthest below its share.

    A job's share is proportional to 2 ** priority, so that one step of priority doubles it; a job that has
    nothing outstanding comes before all others of its priority. Ties go to the smaller id.
    """
    given = dict.fromkeys((c.job for c in claimants), 0)
    for _ in range(places):
        hungry = [c for c in claimants if given[c.job] < c.open]
        if not hungry:
            break
        first = min(hungry, key=lambda c: ((c.outstanding + given[c.job]) / 2.0**c.priority, -c.priority, c.job))
        given[first.job] += 1
    return {job: count for job, count in given.items() if count}
