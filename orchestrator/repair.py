"""What of an ended job is to be done again: what failed, and what the store no longer gives as it was committed."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from contract.errors import IntegrityError, StorageError, UsageError
from contract.job import Done, Manifest, Plan
from orchestrator.records import Records

_READERS = 8


def damaged(records: Records, manifest: Manifest) -> set[int]:
    """Items whose delivered file is not the finished bytes any more, or is gone. Reads every result."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="verify") as pool:
        sound = pool.map(lambda file: _whole(records, file.key, file.sha256), manifest.files)
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
    with ThreadPoolExecutor(_READERS, thread_name_prefix="commit") as pool:
        return [chunk for chunk, found in zip(chunks, pool.map(bad, chunks), strict=True) if found]


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
