"""The expected time of a job, by the pace of jobs that ended on the same cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from contract.errors import RespoolError
from contract.settings import Settings
from orchestrator.cli.common import check_reachable

if TYPE_CHECKING:
    from orchestrator.local import Cluster
    from orchestrator.past_pace import Work

NO_CLUSTER = "time: unknown; past jobs tell it once a cluster runs (`respool up`)"


def expected_time(
    wanted: Sequence[tuple[str, float]], settings: Settings, cluster: Cluster | None, dry_run: bool = False
) -> str:
    """Return a sentence on the time that `wanted` (see `Draft.wanted`) takes on the cluster of `settings`; "" for no work.

    `cluster` is the embedded one, None where there is none or RESPOOL_* names another. Where past jobs cannot be read, the
    sentence says why; no error is raised.
    """
    from orchestrator.job_store import Records
    from orchestrator.past_pace import past_work
    from stores.ledger import Ledger
    from stores.storage import Storage

    if not wanted:
        return ""
    if settings.embedded and cluster is None:
        return NO_CLUSTER
    wired = cluster.settings if cluster else settings
    try:
        if dry_run:
            check_reachable(wired)
        storage = Storage(wired)
        storage.ensure_bucket()  # of a cluster that has just started, whose orchestrator has not made it yet
        past = past_work(Records(storage))
        beating = len(Ledger(wired).workers())  # a worker that has just started has sent no heartbeat
    except RespoolError as error:  # an estimate ends no command; what the work itself needs is checked by the work
        return f"time: unknown: {error}"
    started = sum(process.role == "worker" for process in cluster.processes) if cluster else 0
    return time_line(past, wanted, max(beating, started, 1))


def known_work(settings: Settings, cluster: Cluster | None) -> tuple[list[Work], str]:
    """Return the work of jobs that ended on the cluster of `settings`, and why there is none where it cannot be read.

    `cluster` is the embedded one, None where there is none or RESPOOL_* names another.
    """
    from orchestrator.job_store import Records
    from orchestrator.past_pace import past_work
    from stores.storage import Storage

    if settings.embedded and cluster is None:
        return [], "no cluster runs here whose past jobs could tell it"
    try:
        wired = check_reachable(cluster.settings if cluster else settings)
        return past_work(Records(Storage(wired))), ""
    except RespoolError as error:  # an estimate is given without them
        return [], str(error).rstrip(".")


def time_line(past: Sequence[Work], wanted: Sequence[tuple[str, float]], workers: int) -> str:
    """Say how long `workers` workers will be at `wanted`, as a range where past jobs differ; where no job tells, how to learn it."""
    from orchestrator.cli.display import duration
    from orchestrator.past_pace import working_seconds

    found = working_seconds(past, wanted)
    if found is None:
        return "time: unknown until a small job with these options has ended here"
    low, high, jobs = found
    least, most = duration(low / workers), duration(high / workers)
    span = least if least == most else f"{least} to {most}"
    whom = "one worker" if workers == 1 else f"{workers} workers"
    return f"time: about {span} for {whom} ({jobs} past job{'' if jobs == 1 else 's'}), plus reading and checks"


def running(settings: Settings) -> AbstractContextManager[Cluster | None]:
    """Attach to the embedded cluster where one runs; start nothing."""
    from orchestrator.local import attach

    return (attach(settings) if settings.embedded else None) or nullcontext()
