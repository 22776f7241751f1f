"""The commit log: copies of a large job's commits in S3, some hundreds an object, so that the job's end need not ask for each.

Workers hand a copy to Redis as they settle a chunk, orchestrators move full parts from there to S3. A copy proves nothing by
itself: it is used only where the ETag of the chunk's done.json, as S3 lists it at the end, is the MD5 of the copy. What
has no such copy (it was lost with a process, the ETag is no MD5, the commit changed) is read from done.json itself.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping

import msgspec

from contract import keys
from contract.errors import IntegrityError, UsageError
from contract.job import Natural
from contract.parallel import in_order
from stores.commit_copies import CommitCopies
from stores.object_store import ObjectStore

logger = logging.getLogger(__name__)

PART = 500
"""Copies in one object."""

_LARGEST_PART = 8 << 20
_READ_AT_ONCE = 4


class _Named(msgspec.Struct, frozen=True):
    chunk: Natural


def save(storage: ObjectStore, ledger: CommitCopies, job: str, least: int = PART) -> None:
    """Move the copies that wait to S3, while there are at least `least`. Those in hand when this fails are lost."""
    while ledger.copies_waiting(job) >= least:
        copies = ledger.take_copies(job, PART)
        if not copies:
            return  # another orchestrator was quicker
        part = b"\n".join(copies) + b"\n"
        storage.put(keys.commit_log(job, hashlib.sha256(part).hexdigest()), part)


def parts(storage: ObjectStore, job: str) -> list[str]:
    """List the parts of a job's log, in no order."""
    return [key for key, _ in storage.list(keys.commit_log_prefix(job))]


def copies(storage: ObjectStore, job: str, part: str) -> list[tuple[int, bytes]]:
    """Return (chunk, bytes of its done.json) for each copy of a part; none, and a line in the log, of one that is damaged."""
    try:
        data = storage.find(part, _LARGEST_PART) or b""
    except (IntegrityError, UsageError) as error:
        logger.warning("copies of commits are not used: %s", error, extra={"job": job})
        return []
    found = []
    for copy in data.splitlines():
        try:
            found.append((msgspec.json.decode(copy, type=_Named).chunk, copy))
        except msgspec.DecodeError:
            continue  # no commit
    return found


def sound_copies(storage: ObjectStore, job: str, etags: Mapping[int, str]) -> Iterator[tuple[int, bytes]]:
    """Yield the copies that hold: those whose MD5 is the one of `etags`, by chunk, in S3's listing."""
    for part in in_order(lambda key: copies(storage, job, key), parts(storage, job), _READ_AT_ONCE, "read"):
        for chunk, copy in part:
            if etags.get(chunk, "").strip('"') == hashlib.md5(copy, usedforsecurity=False).hexdigest():
                yield chunk, copy
