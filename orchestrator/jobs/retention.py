"""What a store need not keep for ever: inputs and chunks of jobs that ended, and submissions that were never completed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from contract import keys
from contract.errors import IntegrityError, Newer, UsageError
from orchestrator.job_store import Records
from stores.storage import Storage

logger = logging.getLogger(__name__)


class Sweep(Struct, frozen=True):
    """Objects of one job that may go, and why."""

    job: str
    reason: str
    objects: tuple[str, ...]
    size: int


def find(storage: Storage, age: timedelta, results: bool, now: datetime) -> Iterator[Sweep]:
    """What may go of jobs that ended, or of submissions last added to, more than `age` before `now`.

    Of an ended job the sources, indexes and chunks go; its spec, manifest and results stay, unless `results` says
    that these go too. Running, paused and cancelled-but-open jobs are never touched. Nothing is removed here.
    """
    records = Records(storage)
    for job in records.jobs():
        try:
            manifest, cancelled = records.manifest(job), records.control(job).cancelled
        except (UsageError, IntegrityError, Newer) as error:
            logger.warning("left alone: %s", error, extra={"job": job})
            continue
        if manifest is not None:
            if not _before(manifest.finished, now - age):
                continue
            kept = () if results else (keys.job_spec(job), keys.results_prefix(job))
            reason = f"{manifest.state} since {manifest.finished}"
        elif storage.exists(keys.job_spec(job)):
            if not cancelled or storage.newest(keys.job_prefix(job)) > now - age:
                continue
            kept, reason = (), "cancelled"
        else:
            if storage.newest(keys.job_prefix(job)) > now - age:
                continue
            kept, reason = (), "never submitted to its end"
        found = [(key, size) for key, size in storage.list(keys.job_prefix(job)) if not key.startswith(kept or ("\0",))]
        if found:
            yield Sweep(job, reason, tuple(key for key, _ in found), sum(size for _, size in found))


def remove(storage: Storage, sweep: Sweep) -> None:
    """Remove what `find` found; the job's own spec first, so that whoever is interrupted leaves no job that looks whole."""
    spec = keys.job_spec(sweep.job)
    for key in sorted(sweep.objects, key=lambda k: (k != spec, k)):
        storage.delete(key)


def _before(moment: str, limit: datetime) -> bool:
    """True when an ISO 8601 time is earlier than `limit`."""
    return datetime.fromisoformat(moment).astimezone(UTC) < limit
