"""The state of a job and its next step, as pure functions: no clock, no network. The service looks, asks here, and acts.

A job goes  ingesting -> running <-> paused -> assembling -> done | failed,  and from anywhere to cancelled.
Its state is never stored: it follows from the objects that exist and from the ledger's counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from contract.job import Control, State
from stores.ledger import Counts


@dataclass(frozen=True)
class View:
    """Facts about a job at one moment. `result` is the manifest's state, None while there is no manifest."""

    planned: bool
    control: Control
    counts: Counts | None
    result: State | None


class Step(Enum):
    """The orchestrator's next action for a job."""

    INGEST = "index the sources and write plan.json"
    CREATE_LEDGER = "make the ledger from what S3 holds"
    RUN = "end dead leases, announce chunks"
    WAIT = "end dead leases, announce nothing"
    ASSEMBLE = "put the results together and write the manifest"
    CLOSE = "nothing is left to do; drop the ledger"


def state(view: View) -> State:
    """Return the state that users see."""
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
    """Return the next step; CLOSE for a job that has ended."""
    now = state(view)
    if now == "cancelled" and view.counts is not None and view.counts.running:
        return Step.WAIT  # workers that still compute learn of the end from the ledger
    if now in ("done", "failed", "cancelled"):
        return Step.CLOSE
    if not view.planned:
        return Step.WAIT if now == "paused" else Step.INGEST
    if view.counts is None:
        return Step.CREATE_LEDGER
    if now == "paused":
        return Step.WAIT
    return Step.ASSEMBLE if now == "assembling" else Step.RUN
