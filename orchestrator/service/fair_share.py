"""Fair shares of the queue and of an orchestrator's long steps, among submitters and among each one's jobs. Pure."""

from __future__ import annotations

import math
from collections import Counter
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


USUAL = 4
"""The priority of a job whose submitter asks for none."""


def step_back(priority: int) -> int:
    """Return how many steps a job lets others go first: those below the usual priority. None by asking for more."""
    return max(0, USUAL - priority)


def turn(priority: int, busy: int, size: int, job: str) -> tuple[int, int, int, int, str]:
    """Return the key by which jobs that wait for a long step are sorted; `busy` counts the long steps of the job's submitter.

    As in `share`, what is below the usual priority waits for all others, submitters take turns, and of one submitter the job of the
    highest priority comes first, then the smallest.
    """
    return step_back(priority), busy, -priority, size, job


@dataclass(frozen=True)
class Claimant:
    """A job with chunks to publish, or with chunks that count against its submitter's share."""

    job: str
    priority: int
    open: int
    """Chunks that are neither settled, leased nor published."""
    outstanding: int
    """Chunks that are leased or published."""
    submitter: str = ""


def share(claimants: Sequence[Claimant], places: int, limit: int = 0) -> dict[str, int]:
    """Divide `places` of the queue, one at a time: among submitters, and each one's places among its jobs.

    Always to the submitter furthest below its share, and of its jobs to the one furthest below its own. Submitters have equal
    shares, however many jobs each has; that of one whose jobs all are below the usual priority is halved for each step. Within
    a submitter a job's share is proportional to 2 ** priority, so that one step of priority doubles it; a job that has nothing
    outstanding comes before all others of its priority. So a high priority takes places from the submitter's own jobs
    alone, and a low one leaves places to everybody. Ties go to the smaller name and id.

    With a `limit`, no submitter has more than so many outstanding. Every other place that a job can use is given.
    """
    given = dict.fromkeys((c.job for c in claimants), 0)
    taken: Counter[str] = Counter()
    for claimant in claimants:
        taken[claimant.submitter] += claimant.outstanding
    for _ in range(places):
        hungry = [c for c in claimants if given[c.job] < c.open and not 0 < limit <= taken[c.submitter]]
        if not hungry:
            break
        weights = {c.submitter: 0.0 for c in hungry}
        for c in hungry:
            weights[c.submitter] = max(weights[c.submitter], 2.0 ** -step_back(c.priority))
        whose = min(weights, key=lambda name: (taken[name] / weights[name], -weights[name], name))
        own = [c for c in hungry if c.submitter == whose]
        first = min(own, key=lambda c: ((c.outstanding + given[c.job]) / 2.0**c.priority, -c.priority, c.job))
        given[first.job] += 1
        taken[whose] += 1
    return {job: count for job, count in given.items() if count}
