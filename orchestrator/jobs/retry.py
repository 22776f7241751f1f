"""What of an ended job is to be done again: what failed, and what the store no longer gives as it was committed."""

from __future__ import annotations

from collections.abc import Iterable

from contract.errors import IntegrityError, StorageError, UsageError
from contract.job import Done, Manifest, Plan
from contract.parallel import AHEAD, in_order
from orchestrator.job_store import AT_ONCE, Records


def damaged(records: Records, manifest: Manifest) -> set[int]:
    """Items whose delivered file is not the finished bytes any more, or is gone. Reads every result."""
    sound = in_order(lambda file: _whole(records, file.key, file.sha256), manifest.files, AT_ONCE, "verify", AHEAD)
    return {file.item for file, good in zip(manifest.files, sound, strict=True) if not good}


def undone(records: Records, plan: Plan, done: set[int], items: Iterable[int]) -> list[int]:
    """Chunks of `done` whose commit does not count: it says that images failed, or it cannot be read.

    Of `items`, which failed as a whole or were damaged, the committed objects are read too, and held against their hashes.
    """
    doubles = dict(plan.duplicates)
    suspects = {doubles.get(item, item) for item in items}

    def bad(chunk: int) -> bool:
        commit = _commit(records, plan.job, chunk)
        if commit is None or commit.failures:
            return True
        known = plan.chunks[chunk]
        about = range(known.item, known.item + (known.count if known.kind == "image" else 1))
        if suspects.isdisjoint(about):
            return False
        return not all(_whole(records, output.key, output.sha256) for output in commit.outputs)

    chunks = sorted(done)
    return [
        chunk for chunk, found in zip(chunks, in_order(bad, chunks, AT_ONCE, "commit", AHEAD), strict=True) if found
    ]


def _commit(records: Records, job: str, chunk: int) -> Done | None:
    try:
        return records.done(job, chunk)
    except (UsageError, IntegrityError, StorageError):
        return None  # one of a newer version raises Newer: it is not ours to judge


def _whole(records: Records, key: str, sha256: str) -> bool:
    """Whether the store gives these bytes under this key."""
    try:
        records.storage.verify(key, sha256)
    except (IntegrityError, StorageError):
        return False
    return True
