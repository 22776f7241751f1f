"""Retention: objects that may be removed, of jobs that ended and of submissions that were never completed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from contract import keys
from contract.errors import IntegrityError, Newer, UsageError
from contract.job import Control
from orchestrator.job_store import Records
from stores.boto_storage import Upload
from stores.storage import Storage

logger = logging.getLogger(__name__)


PREFIXES = ("jobs/", keys.SUBMITTERS, "weights/", "train/", "doctor/")
"""Everything of Respool's in a bucket; others may keep objects beside it."""

UNFINISHED = "never submitted to its end"


class Sweep(Struct, frozen=True):
    """Objects of one job that may be removed, and the reason."""

    job: str
    reason: str
    objects: tuple[str, ...]
    size: int
    control: Control
    tag: str | None


def find(storage: Storage, age: timedelta, results: bool, now: datetime) -> Iterator[Sweep]:
    """Find objects of jobs that ended, or of submissions last added to, more than `age` before `now`.

    Of an ended job these are the sources, indexes and chunks; with `results`, also its spec, manifest and results. Running,
    paused and cancelled but open jobs are never included. Nothing is removed here.
    """
    records = Records(storage)
    for job in records.jobs():
        try:
            control, tag = records.tagged_control(job)
            manifest, cancelled = records.manifest(job, control), control.cancelled
        except (UsageError, IntegrityError, Newer) as error:
            logger.warning("left alone: %s", error, extra={"job": job})
            continue
        if manifest is not None:
            if not _before(manifest.finished, now - age):
                continue
            kept = () if results else (keys.job_spec(job), keys.control(job), keys.results_prefix(job))
            reason = f"{manifest.state} since {manifest.finished}"
        elif storage.exists(keys.job_spec(job)):
            if not cancelled or storage.newest(keys.job_prefix(job)) > now - age:
                continue
            kept, reason = (), "cancelled"
        else:
            if storage.newest(keys.job_prefix(job)) > now - age:
                continue
            kept, reason = (), UNFINISHED
        found = [(key, size) for key, size in storage.list(keys.job_prefix(job)) if not key.startswith(kept or ("\0",))]
        if found:
            yield Sweep(job, reason, tuple(key for key, _ in found), sum(size for _, size in found), control, tag)


def remove(storage: Storage, sweep: Sweep) -> bool:
    """Remove what `find` found, unless the job was opened, or submitted to its end, since then; False then.

    control.json says so first, written only over the one that was found: from then on no command opens the job unseen.
    The job's own spec is removed first, so that an interrupted removal leaves no job that looks complete.
    """
    records, spec, ours = Records(storage), keys.job_spec(sweep.job), sweep.control.changes
    if storage.exists(spec):
        if sweep.reason == UNFINISHED:
            return False
        if not sweep.control.collected:
            collected = replace(sweep.control, collected=True)
            changed = records.change_control(sweep.job, collected, sweep.tag)
            if changed is None:
                return False
            ours = changed.changes
    control = keys.control(sweep.job)
    for key in sorted(sweep.objects, key=lambda k: (k != spec, k == control, k)):
        if _changed(storage, sweep, ours):
            return False
        storage.delete(key)
    return True


def _changed(storage: Storage, sweep: Sweep, changes: int) -> bool:
    """Return True when the job was opened, or the submission completed, since this removal began."""
    if sweep.reason == UNFINISHED:
        return storage.exists(keys.job_spec(sweep.job))
    control, tag = Records(storage).tagged_control(sweep.job)
    return tag is not None and control.changes != changes


def unused_marks(storage: Storage, age: timedelta, now: datetime) -> Iterator[str]:
    """Find marks, written more than `age` before `now`, of submitters' jobs of which the store holds nothing any more."""
    for key, _ in storage.list(keys.SUBMITTERS):
        job = key.rpartition("/")[2]
        if keys.is_job(job) and not any(storage.list(keys.job_prefix(job))) and storage.newest(key) < now - age:
            yield key


def unfinished_uploads(storage: Storage, age: timedelta, now: datetime) -> Iterator[tuple[Upload, int]]:
    """Find uploads in parts that began more than `age` before `now` and never ended, with the bytes that they hold.

    A process that is killed in the middle of an upload leaves its parts for ever. One that still uploads looks the same: `age`
    must be longer than the longest upload takes.
    """
    for prefix in PREFIXES:
        for upload in storage.uploads(prefix):
            if upload.begun < now - age:
                yield upload, storage.upload_size(upload)


def _before(moment: str, limit: datetime) -> bool:
    """Return True when an ISO 8601 time is earlier than `limit`."""
    return datetime.fromisoformat(moment).astimezone(UTC) < limit
