"""Reopening of a job for its failures, and for objects that the store no longer holds as committed.

One write opens it: control.json with the next opening's number, written only over the version that was read. A crash
before that write leaves an ended job that can be opened again; the next process that looks at the job completes what was
not done after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contract import keys
from contract.errors import IntegrityError, StorageError, UsageError
from contract.job import Chunk, Control, Done, Job, Manifest, Plan
from contract.parallel import AHEAD, in_order
from orchestrator.job_store import AT_ONCE, Records
from orchestrator.missing_sources import missing_sources
from stores.ledger import Ledger


@dataclass(frozen=True)
class Again:
    """Work to repeat: chunks set aside, chunks whose commit does not count, items to cut again."""

    aside: frozenset[int]
    undone: frozenset[int]
    recut: frozenset[int]


def reopen(records: Records, ledger: Ledger, job: str) -> int:
    """Open a failed or cancelled job again; return the number of chunks to compute again.

    A finished job is opened when the store no longer holds the bytes of its results. Raises UsageError when there is
    nothing to do, or when needed sources are gone.
    """
    spec = records.job(job)
    control, tag = records.tagged_control(job)
    manifest, plan = records.manifest(job, control), records.plan(job)
    if manifest is None and not control.cancelled:
        ledger.announce_job(job)  # the process that opened it may have died before
        raise UsageError(f"job {job} has not ended; wait for it, or cancel it first.")
    suspects = {failure.item for failure in manifest.failures} if manifest else set()
    if manifest is not None and manifest.state == "done":
        suspects = damaged(records, manifest)
        if not suspects:
            raise UsageError(f"job {job} is done and nothing in it failed; there is nothing to retry.")
    _check_sources(records, spec)
    again = _again(records, plan, suspects) if plan else Again(frozenset(), frozenset(), frozenset())
    for chunk in again.aside:
        records.storage.delete(keys.failed(job, chunk))
    for chunk in again.undone:
        records.storage.delete(keys.done(job, chunk))
    if manifest is not None and manifest.version == 1:  # it names no opening, so it would count for ever
        records.storage.delete(keys.manifest(job))
    opening = control.retries + 1
    to_plan = plan is None or plan.opening < control.replan or bool(plan.failures) or bool(again.recut)
    opened = Control(
        retries=opening,
        replan=opening if to_plan else control.replan,
        recut=tuple(sorted(again.recut | (set(control.recut) if plan and plan.opening < control.replan else set()))),
        changes=control.changes,
    )
    if records.change_control(job, opened, tag) is None:
        raise StorageError(f"job {job} was changed by another command at this moment; try again.")
    if manifest is not None:
        records.storage.delete(keys.manifest(job))
    ledger.forget(job)
    ledger.announce_job(job)
    return len(again.aside) + len(again.undone)


def _check_sources(records: Records, job: Job) -> None:
    gone = missing_sources(records, job)
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise UsageError(
            f"{job.items[gone[0]].name}{more} of job {job.id} are no longer in the store; submit the same files with the "
            "same options again, then retry."
        )


def damaged(records: Records, manifest: Manifest) -> set[int]:
    """Find items of which a delivered file has changed or is gone. Reads every result, and the files beside them."""
    files = (*manifest.files, *manifest.sidecars)
    sound = in_order(lambda file: _whole(records, file.key, file.sha256), files, AT_ONCE, "verify", AHEAD)
    return {file.item for file, good in zip(files, sound, strict=True) if not good}


def _again(records: Records, plan: Plan, suspects: set[int]) -> Again:
    done, aside = records.settled(plan.job, plan)
    doubles = dict(plan.duplicates)
    items = {doubles.get(item, item) for item in suspects}
    lost = {plan.chunks[n].item for n in aside if not _has_input(records, plan.job, plan.chunks[n])}
    indexes = dict(plan.indexes)
    films = {chunk.item for chunk in plan.live if chunk.kind == "video"} & items
    lost |= {item for item in films if not _has_index(records, plan.job, item, indexes.get(item, ""))}
    return Again(frozenset(aside), frozenset(undone(records, plan, done, items)), frozenset(lost))


def undone(records: Records, plan: Plan, done: set[int], items: Iterable[int]) -> list[int]:
    """Find chunks of `done` whose commit does not count: it reports failed images, or it cannot be read.

    Of `items`, which failed as a whole or were damaged, also read the committed objects and verify their hashes.
    """
    suspects = set(items)

    def bad(n: int) -> bool:
        chunk = plan.chunks[n]
        commit = _commit(records, plan.job, chunk)
        if commit is None or commit.failures:
            return True
        if suspects.isdisjoint(chunk.items):
            return False
        return not all(_whole(records, output.key, output.sha256) for output in commit.outputs)

    chunks = sorted(done)
    return [
        chunk for chunk, found in zip(chunks, in_order(bad, chunks, AT_ONCE, "commit", AHEAD), strict=True) if found
    ]


def _commit(records: Records, job: str, chunk: Chunk) -> Done | None:
    try:
        return records.done(job, chunk)
    except (UsageError, IntegrityError):
        return None  # one of a newer version raises Newer: it is not ours to judge


def _has_input(records: Records, job: str, chunk: Chunk) -> bool:
    if chunk.kind == "image":
        return True  # made of the sources themselves
    if not chunk.input:
        return records.storage.exists(keys.chunk_input(job, chunk.n))
    return _whole(records, keys.run(job, chunk.item, chunk.input), chunk.input)


def _has_index(records: Records, job: str, item: int, sha256: str) -> bool:
    key = keys.index(job, item, sha256)
    return _whole(records, key, sha256) if sha256 else records.storage.exists(key)


def _whole(records: Records, key: str, sha256: str) -> bool:
    """Return True if the store holds these bytes under this key; a store that does not answer is no evidence, and raises."""
    try:
        records.storage.verify(key, sha256)
    except IntegrityError:
        return False
    return True
