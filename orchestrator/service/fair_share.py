"""How many announcements may wait, and which jobs get them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

LOOK_AHEAD_S = 4.0
"""For how long workers have something to take when no orchestrator looks; one that is started again takes 2-3 s."""


def ahead(workers: int, running: int, pace: float, window: int) -> int:
    """How many announcements may wait for `workers`, of whom `running` are busy and which end `pace` chunks a second.

    Each idle worker's, and what is ended in LOOK_AHEAD_S; never more than `window` a worker. What waits is first come, first
    served: with more of it, a small job would stand behind minutes of a large one's chunks.
    """
    wanted = max(0, workers - running) + math.ceil(pace * LOOK_AHEAD_S)
    return max(2, min(window * workers, wanted))


@dataclass(frozen=True)
class Claimant:
    """A job that wants chunks announced."""

    job: str
    priority: int
    open: int
    """Chunks neither settled, leased nor announced."""
    outstanding: int
    """Chunks leased or announced."""


def share(claimants: list[Claimant], places: int) -> dict[str, int]:
    """Give `places` announcements to jobs, one at a time, always to the one furthest below its share.

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
