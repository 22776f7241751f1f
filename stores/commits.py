"""The commit of a chunk: the winning attempt, removal of losing ones, and setting a chunk aside.

A commit is one conditional PUT of done.json. From the moment that PUT was attempted its outcome is unknown until the
object is read: an answer may be lost, and a request may arrive late. So what the attempt stored is removed only where
done.json names another attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec

from contract import keys
from contract.documents import encode
from contract.errors import IntegrityError
from contract.job import Chunk, Done, Failed, MaybeSha256, Natural
from stores.ledger import Lease, Ledger
from stores.object_store import ObjectStore

logger = logging.getLogger(__name__)


class Winner(msgspec.Struct, frozen=True):
    """Fields of a commit that are read whatever version wrote it."""

    attempt: str
    frames: Natural
    work: MaybeSha256 = ""


def winner(storage: ObjectStore, job: str, chunk: int) -> Winner | None:
    """Return the commit of a chunk, None where there is none; raise IntegrityError for what is no commit."""
    key = keys.done(job, chunk)
    data = storage.find(key)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Winner)
    except msgspec.DecodeError as error:
        raise IntegrityError(f"{key} is no commit ({error}); `respool retry {job}` does the chunk again.") from error


def own_winner(storage: ObjectStore, job: str, chunk: Chunk) -> Winner | None:
    """Return the commit as `winner` does; raise IntegrityError for a commit of other frames than those of `chunk`."""
    found = winner(storage, job, chunk.n)
    if found is not None and found.work != (chunk.work(job) if chunk.input else found.work):
        raise IntegrityError(
            f"{keys.done(job, chunk.n)} is the commit of other frames than those of {chunk.label}; "
            f"`respool retry {job}` does the chunk again."
        )
    return found


def commit(storage: ObjectStore, job: str, chunk: Chunk, done: Done) -> Winner:
    """Write `done` unless the chunk has a commit; return the one that stands. Raises as `own_winner` does."""
    if storage.put(keys.done(job, chunk.n), encode(done), if_absent=True):
        return Winner(done.attempt, done.frames, done.work)
    found = own_winner(storage, job, chunk)
    if found is None:
        raise IntegrityError(f"{keys.done(job, chunk.n)} was removed as it was written; the chunk goes out again.")
    return found


def clean(storage: ObjectStore, lease: Lease, attempted: bool) -> None:
    """Remove what an attempt stored; after its commit was `attempted` only where the commit is another's."""
    if attempted:
        found = winner(storage, lease.job, lease.chunk)
        if found is None or found.attempt == lease.attempt:
            return
    for key, _ in list(storage.list(keys.attempt(lease.job, lease.chunk, lease.attempt))):
        storage.delete(key)


def sweep(
    storage: ObjectStore, job: str, attempts: Mapping[int, Iterable[str]], checkpoint: Callable[[], None]
) -> None:
    """Remove objects of those of `attempts`, ids by chunk, that lost to another one. A late attempt removes its own.

    This happens before the manifest, while the job cannot be reopened, and by done.json as it is at that moment: what may
    still be committed, or is, stays; so does what belongs to a chunk whose done.json is no commit.
    """
    for chunk, ids in attempts.items():
        checkpoint()
        try:
            stands = winner(storage, job, chunk)
        except IntegrityError as error:
            logger.warning("attempts are kept: %s", error, extra={"job": job, "chunk": chunk})
            continue
        for attempt in ids:
            if stands is not None and attempt != stands.attempt:
                for key, _ in list(storage.list(keys.attempt(job, chunk, attempt))):
                    storage.delete(key)


def set_aside(storage: ObjectStore, ledger: Ledger, job: str, chunk: int, frames: int) -> Failed | None:
    """Settle a chunk whose tries are used up as failed, with its reasons; as done, and None, where it has a commit."""
    if winner(storage, job, chunk) is not None:
        ledger.settle(job, chunk, "done", frames)
        return None
    failed = Failed(chunk, ledger.reasons(job, chunk))
    storage.put(keys.failed(job, chunk), encode(failed))
    ledger.settle(job, chunk, "failed")
    return failed
