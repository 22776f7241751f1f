"""Follow a job to its end, and report how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from contract.errors import Unreachable
from contract.severity import ORDER, Severity, grouped, losses, marked, severity, worst
from orchestrator.cli.exits import Exit
from orchestrator.cli.terminal import echo

if TYPE_CHECKING:
    from orchestrator.cli.display import Display
    from orchestrator.jobs.client import Jobs
    from orchestrator.jobs.status import JobStatus

_LOOK_S = 0.3
_AWAY_S = 60.0
_SHOWN = 20
"""Most notes, damages and failures that are printed of each kind; `respool status JOB --json` has all."""


def follow(jobs: Jobs, job: str, show: Display, look: Callable[[], None] | None = None) -> JobStatus:
    """Show a job until it has ended; return its last status. `look` is called each time, and raises to give up.

    Redis or S3 may be away for a while, as during a restart; Unreachable is raised only after a minute of it.
    """
    answered = time.monotonic()
    while True:
        begun = time.monotonic()
        try:
            status = jobs.status(job)
            answered = time.monotonic()
        except Unreachable as error:
            if time.monotonic() - answered > _AWAY_S:
                raise
            show.say(f"waiting: {error}")
            status = None
        if status is not None:
            show.job(status)
            if status.state in ("done", "failed", "cancelled"):
                return status
        if look is not None:
            look()
        # A look costs the store something: after a look at a large job, wait longer.
        time.sleep(max(_LOOK_S, 5 * (time.monotonic() - begun)))


def conclude(status: JobStatus, fail_on: Severity = "failure") -> Exit:
    """Print failures, damage, losses and notes on stderr, the worst last; return the job's exit code.

    Losses are grouped, so that none is cut off. `fail_on` is the severity from which on a finished job counts as failed.
    """
    notes = marked(status.notes, status.losses)
    _some([f"note: {note}" for note in grouped(n for n in notes if severity(n) == "note")])
    for loss in grouped(losses(notes)):
        echo(f"loss: {loss}", err=True)
    _some(
        [f"damaged: item {d.item}, {d.where}: {d.reason}" for d in status.damaged],
    )
    _some([f"failed item: {f.name}: {f.reason}" for f in status.failures])
    if status.state == "cancelled":
        echo(f"job {status.id} was cancelled; `respool retry {status.id}` opens it again.", err=True)
        return Exit.CANCELLED
    if status.state == "failed":
        count = len({f.item for f in status.failures})
        echo(f"{count} of {status.items} items failed; `respool retry {status.id}` tries them again.", err=True)
        return Exit.FAILED
    found = worst(notes, bool(status.damaged), bool(status.failures))
    if found is not None and ORDER.index(found) >= ORDER.index(fail_on):
        echo(f"the worst of job {status.id} is a {found}, and --fail-on {fail_on} was given.", err=True)
        return Exit.FAILED
    return Exit.DONE


def _some(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        echo(line, err=True)
    if len(lines) > _SHOWN:
        echo(f"... and {len(lines) - _SHOWN} more of these; `respool status JOB --json` has all.", err=True)
