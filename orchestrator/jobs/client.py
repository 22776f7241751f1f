"""Client of jobs for the command line: status, control, retry, fetch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from contract import keys
from contract.errors import RespoolError, Unreachable, UsageError
from contract.job import Job, Manifest, ResultFile, State
from contract.parallel import AHEAD, in_order
from contract.settings import Settings
from contract.severity import counts as counts_of
from contract.severity import marked
from orchestrator.job_state import View, state
from orchestrator.job_store import Records
from orchestrator.jobs import retry
from orchestrator.jobs.pace import Pace
from orchestrator.jobs.status import (
    ChunkProgress,
    ImageProgress,
    JobStatus,
    Progress,
    blocked,
    handed_back,
    held,
    image_progress,
    rate,
    waits_behind,
)
from orchestrator.submission.result_names import sidecar_name
from stores.atomic_files import replacing
from stores.file_digest import file_sha256
from stores.ledger import Counts, Ledger
from stores.storage import Storage
from stores.verified import fetch_result

logger = logging.getLogger(__name__)

_AT_ONCE = 4
"""Results fetched at once: fetching ten thousand small ones is mostly waiting."""


def unfinished(job: str, state: State) -> UsageError:
    """Return the error of a job that has no results yet, and the command that helps in its state."""
    if state == "cancelled":
        return UsageError(f"job {job} was cancelled and has no results; `respool retry {job}` opens it again.")
    if state == "paused":
        return UsageError(f"job {job} is paused and has no results; `respool resume {job}` lets it go on.")
    return UsageError(f"job {job} has not ended; `respool watch {job}` follows it.")


class Jobs:
    """All jobs of one cluster."""

    def __init__(self, settings: Settings) -> None:
        self._storage = Storage(settings)
        self._storage.ensure_bucket()
        self._ledger = Ledger(settings)
        self._ledger.ping()
        self._records = Records(self._storage)
        self._paces: dict[str, Pace] = {}
        """The pace of each job whose status was asked for, as seen between the calls."""

    def all_jobs(self) -> list[JobStatus]:
        """List every job in the store, newest first; one whose documents cannot be read is logged and left out."""
        found = []
        for job in self._records.jobs():
            try:
                if self._storage.exists(keys.job_spec(job)):
                    found.append(self.status(job))
            except Unreachable:
                raise
            except RespoolError as error:
                logger.warning("%s", error, extra={"job": job})
        return sorted(found, key=lambda s: s.created, reverse=True)

    def full_id(self, text: str) -> str:
        """Return the id of the job that `text`, an id or its first digits, names; raise UsageError when there is no single one."""
        return self._records.full_id(text)

    def job(self, job: str) -> Job:
        """Read the submitted job; raise UsageError when there is none of that id."""
        return self._records.job(job)

    def manifest(self, job: str) -> Manifest | None:
        """Read a job's manifest; None while it has not ended."""
        return self._records.manifest(job)

    def status(self, job: str) -> JobStatus:
        """Read the status of one job; raise UsageError when there is none of that id."""
        known = self._records.job(job)
        # The ledger first: what is asked for is written to S3 before it, so that it never tells of more than S3 read later.
        bits = self._ledger.done(job)  # before the counts: both go with an ended job's ledger
        counts = self._ledger.counts(job)
        control = self._records.control(job)
        manifest = self._records.manifest(job, control)
        plan = self._records.planned(job, control)
        if counts is not None and (counts.outlives(control) or (plan is not None and counts.opening != plan.opening)):
            counts = None  # of a collected job, or an earlier opening; the orchestrator makes it again
        view = View(plan is not None, control, counts, None if manifest is None else manifest.state)
        images: ImageProgress | None = None
        if counts is not None and plan is not None:
            images = image_progress(known, plan, lambda n: n >> 3 < len(bits) and bool(bits[n >> 3] & 0x80 >> (n & 7)))
        if counts is None and plan is not None:
            done, failed = self._records.settled(job, plan)
            images = image_progress(known, plan, done.__contains__)
            frames = sum(plan.chunks[n].count for n in done)
            counts = Counts(len(plan.live), len(done), len(failed), 0, 0, plan.frames, frames, 0, 0, False, False)
        workers = self._ledger.workers()
        busy = [w for w in workers.values() if w.get("job") == job and not manifest]
        in_hand = sum(int(str(w["in_hand"])) for w in busy)
        fps = self._fps(job, counts, busy)
        left = counts.frames - counts.frames_done - in_hand if counts else 0
        failures = manifest.failures if manifest else plan.failures if plan else ()
        said = manifest or known
        notes = marked(said.notes, said.losses)
        damaged = manifest.damage if manifest else ()
        return JobStatus(
            id=job,
            state=state(view),
            name=known.items[0].name
            if len(known.items) == 1
            else f"{known.items[0].name} and {len(known.items) - 1} more",
            created=known.created,
            items=len(known.items),
            chunks=ChunkProgress(counts.total, counts.done, counts.failed, counts.running)
            if counts
            else ChunkProgress(0, 0, 0, 0),
            frames=Progress(counts.frames, min(counts.frames, counts.frames_done + in_hand))
            if counts
            else Progress(0, 0),
            fps=round(fps, 3) if fps else None,
            eta_s=round(left / fps, 1) if fps and not manifest else None,
            workers=len(workers),
            retried=counts.retried if counts else 0,
            handed_back=handed_back(counts) if counts else 0,
            damaged=damaged,
            failures=failures,
            notes=said.notes,
            severities=counts_of(notes, len(damaged), len(failures)),
            losses=said.losses,
            films=sum(item.kind == "video" for item in known.items),
            images=images,
            blocked="" if manifest else blocked(known, plan, workers),
            behind=() if manifest or busy or control.cancelled or control.paused else waits_behind(workers.values()),
            submitter=known.submitter,
            held=self._held(counts) if counts and not manifest else "",
        )

    def _held(self, counts: Counts) -> str:
        limit = self._ledger.limits().chunks
        return held(counts, self._ledger.in_flight()[counts.submitter], limit) if limit else ""

    def _fps(self, job: str, counts: Counts | None, busy: list[dict[str, object]]) -> float | None:
        """Return the pace that this client has seen, else that of the last commits, else that of the chunks at hand."""
        pace = self._paces.setdefault(job, Pace())
        if counts is not None:
            done = counts.frames_done + sum(int(str(w["in_hand"])) for w in busy)
            pace.look(time.monotonic(), done, bool(busy))
        hand = sum(int(str(w["in_hand"])) / max(float(str(w["chunk_s"])), 1e-3) for w in busy)
        return pace.frames_a_second or rate(*self._ledger.recent(job)) or hand

    def workers(self) -> dict[str, dict[str, object]]:
        """Return the last heartbeat of each live worker."""
        return self._ledger.workers()

    def control(self, job: str, *, paused: bool | None = None, cancelled: bool | None = None) -> None:
        """Pause, resume or cancel a job. S3 first: a rebuilt ledger is made from it."""
        self._records.job(job)
        after = None
        while after is None:  # another command may change it between the two
            before, tag = self._records.tagged_control(job)
            manifest = self._records.manifest(job, before)
            if manifest is not None:
                raise UsageError(
                    f"job {job} has ended ({manifest.state}); there is nothing to pause, resume or cancel."
                )
            if before.cancelled and not cancelled:
                raise UsageError(f"job {job} was cancelled; `respool retry {job}` opens it again.")
            wanted = replace(
                before,
                paused=before.paused if paused is None else paused,
                cancelled=before.cancelled if cancelled is None else cancelled,
            )
            after = self._records.change_control(job, wanted, tag)
        try:
            self._ledger.ask(job, after)
        except Unreachable as error:
            raise Unreachable(
                f"{error} What was asked of job {job} is written down and holds once Redis is back."
            ) from error

    def retry(self, job: str) -> int:
        """Open a failed or cancelled job again for what failed in it; return the number of chunks to compute again.

        A finished job is opened when the store no longer holds the bytes of its results. Raises UsageError when there is
        nothing to do.
        """
        return retry.reopen(self._records, self._ledger, job)

    def fetch(
        self, job: str, place: Callable[[ResultFile], Path], progress: Callable[[int, int], None] | None = None
    ) -> list[Path]:
        """Download a finished job's files to where `place` says, each complete or not at all; returns their paths."""
        manifest = self._records.manifest(job)
        if manifest is None:
            raise unfinished(job, self.status(job).state)
        files = (*manifest.files, *manifest.sidecars)
        paths = [place(file) for file in files]
        total, done = sum(f.size for f in files), 0
        for size in in_order(self._deliver, zip(files, paths, strict=True), _AT_ONCE, "fetch", AHEAD):
            done += size
            if progress is not None:
                progress(done, total)
        results = paths[: len(manifest.files)]  # what follows are files beside them
        self._deliver_sidecars(job, {file.item: path for file, path in zip(manifest.files, results, strict=True)})
        return paths

    def _deliver_sidecars(self, job: str, paths: dict[int, Path]) -> None:
        """Write the XMP sidecars of sources beside their results; one that is there already with other bytes is left alone."""
        prefix = keys.sidecars_prefix(job)
        names = {item.n: item.name for item in self.job(job).items} if paths else {}
        for key, _ in self._storage.list(prefix):
            number, _, name = key[len(prefix) :].partition("/")
            if number.isdecimal() and int(number) in paths:
                place = sidecar_name(names[int(number)], paths[int(number)], name)
                if not place.exists():
                    with replacing(place) as part:
                        part.write_bytes(self._storage.get(key))

    def _deliver(self, wanted: tuple[ResultFile, Path]) -> int:
        """Download one finished file, whole or not at all; leave an equal one with its modification time. Return its size."""
        file, path = wanted
        if path.is_file() and path.stat().st_size == file.size and file_sha256(path) == file.sha256:
            return file.size
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            fetch_result(self._storage, file.key, file.name, file.sha256, part)
        return file.size
