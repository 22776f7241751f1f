"""Fair share of the queue: the number of chunks that may wait in it, and the jobs that they belong to. Pure."""

from __future__ import annotations

import math
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
