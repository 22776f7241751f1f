"""What a job needs next, as pure functions: no clock, no network. The service sees, asks here, and acts.

A job goes  ingesting -> running <-> paused -> assembling -> done | failed,  and from anywhere to cancelled.
Its state is never stored: it follows from which objects exist and from the ledger's counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from contract.job import Control, State
from stores.ledger import Counts


@dataclass(frozen=True)
class View:
    """A job as one glance shows it. `result` is the manifest's state, None while there is no manifest."""

    planned: bool
    control: Control
    counts: Counts | None
    result: State | None


class Step(Enum):
    """What the orchestrator does about a job now."""

    INGEST = "index the sources and write plan.json"
    FOUND = "make the ledger from what S3 holds"
    RUN = "end dead leases, announce chunks"
    WAIT = "end dead leases, announce nothing"
    ASSEMBLE = "put the results together and write the manifest"
    CLOSE = "nothing is left to do; drop the ledger"


def state(view: View) -> State:
    """The state that users see."""
    if view.result is not None:
        return view.result
    if view.control.cancelled:
        return "cancelled"
    if view.control.paused:
        return "paused"
    if not view.planned:
        return "ingesting"
    if view.counts is not None and view.counts.settled:
        return "assembling"
    return "running"


def step(view: View) -> Step:
    """What to do next; CLOSE for a job that has ended."""
    now = state(view)
    if now == "cancelled" and view.counts is not None and view.counts.running:
        return Step.WAIT  # whoever still works on it hears of the end from the ledger
    if now in ("done", "failed", "cancelled"):
        return Step.CLOSE
    if not view.planned:
        return Step.WAIT if now == "paused" else Step.INGEST
    if view.counts is None:
        return Step.FOUND
    if now == "paused":
        return Step.WAIT
    return Step.ASSEMBLE if now == "assembling" else Step.RUN


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
