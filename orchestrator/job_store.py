"""A job's documents in S3: reads, and the few writes that change a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contract import keys
from contract.documents import decode, encode
from contract.errors import IntegrityError, Missing, StorageError, UsageError
from contract.job import Chunk, Control, Done, Failed, ItemFailure, Job, Manifest, Plan
from contract.parallel import in_order
from stores.object_store import Entry, ObjectStore

AT_ONCE = 16
"""Objects read or written at a time; boto3's pool holds as many connections."""

_ROUNDS = 8
"""Tries of replacing a document that others replace too."""

MAX_DOCUMENT = 256 << 20
"""Largest document in bytes: job.json of a million images. Respool writes none that is larger."""

_BEGINNING = re.compile(r"[0-9a-f]{4,15}")

T = TypeVar("T", bound=Struct)


def _integer(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 12 else None


class ChunkObjects(NamedTuple):
    """One listing of a job's chunks: ETags of commits by chunk, chunks that are set aside, ids of attempts by chunk, digests of attempts' objects."""

    done: dict[int, str]
    failed: set[int]
    attempts: dict[int, tuple[str, ...]]
    stored: set[bytes]

    def has(self, key: str, like: Entry) -> bool:
        """Return True if the object `key` of an attempt is listed with the size and the ETag that `like` has."""
        return _digest(like._replace(key=key)) in self.stored


def _digest(entry: Entry) -> bytes:
    """Return 16 bytes that stand for a listed object: a million names and ETags would take 300 MB."""
    return blake2b(msgspec.json.encode(entry), digest_size=16).digest()


class Records:
    """The documents of all jobs in one bucket."""

    def __init__(self, storage: ObjectStore) -> None:
        self.storage = storage

    def jobs(self) -> Iterator[str]:
        """Yield the ids of all jobs in the store, also of incomplete submissions."""
        for name in self.storage.folders("jobs/"):
            try:
                yield keys.check_job(name)
            except UsageError:
                continue  # not a job of Respool: another program's folder in the bucket

    def full_id(self, text: str) -> str:
        """Return the id of the job that `text`, an id or its first digits (four at least), names; raise UsageError otherwise."""
        if not _BEGINNING.fullmatch(text):
            return keys.check_job(text)
        found = sorted(text + rest for rest in self.storage.folders(f"jobs/{text}"))
        if not found:
            raise UsageError(f"there is no job {text}... in this store; `respool status` lists all jobs.")
        if len(found) > 1:
            raise UsageError(f"{text} begins the ids of {len(found)} jobs ({', '.join(found[:4])}); give more digits.")
        return keys.check_job(found[0])

    def job(self, job: str) -> Job:
        """Read a job; raise UsageError when there is none of that id."""
        found = self._read(keys.job_spec(job), Job)
        if found is None:
            raise UsageError(f"there is no job {job} in this store; `respool status` lists all jobs.")
        return found

    def plan(self, job: str) -> Plan | None:
        """Read the plan; None while there is none."""
        return self._read(keys.plan(job), Plan)

    def is_planned(self, job: str) -> bool:
        """Return whether there is a plan, which need not be read."""
        return self.storage.exists(keys.plan(job))

    def planned(self, job: str, control: Control) -> Plan | None:
        """Return the plan; None while there is none, or while it is to be extended for the opening at hand."""
        plan = self.plan(job)
        return plan if plan is not None and plan.opening >= control.replan else None

    def tagged_plan(self, job: str) -> tuple[Plan, str] | None:
        """Return the plan and its ETag, by which `swap` replaces it; None where there is none."""
        return self._tagged(keys.plan(job), Plan)

    def control(self, job: str) -> Control:
        """Read the user's last request; the default where there is none."""
        return self._read(keys.control(job), Control) or Control()

    def tagged_control(self, job: str) -> tuple[Control, str | None]:
        """Return what was last asked for, and what `change_control` needs to know it by."""
        return self._tagged(keys.control(job), Control) or (Control(), None)

    def change_control(self, job: str, control: Control, tag: str | None) -> Control | None:
        """Replace what `tagged_control` gave, one change later; None when somebody else has changed it meanwhile."""
        changed = replace(control, changes=control.changes + 1)
        return changed if self.storage.swap(keys.control(job), encode(changed), tag) else None

    def manifest(self, job: str, control: Control | None = None) -> Manifest | None:
        """Return what ended the job; None while it has not ended, or since it was opened again (as `control` says)."""
        found = self._read(keys.manifest(job), Manifest)
        if found is None or found.version == 1:
            return found
        return None if found.opening < (control or self.control(job)).retries else found

    def end(self, manifest: Manifest) -> Manifest:
        """Write `manifest` unless one of its opening is there; return the one that counts."""
        key = keys.manifest(manifest.job)
        for _ in range(_ROUNDS):
            if self.storage.put(key, encode(manifest), if_absent=True):
                return manifest
            found = self._tagged(key, Manifest)
            if found is None:
                continue
            if found[0].version == 1 or found[0].opening >= manifest.opening:
                return found[0]
            if self.storage.swap(key, encode(manifest), found[1]):  # of an earlier opening
                return manifest
        raise StorageError(f"{key} changes all the time; the job is looked at again.")

    def fail(self, job: Job, reason: str) -> bool:
        """Close `job` as failed, with one reason for all items; `respool retry` opens it again.

        False, with nothing written, when there is no such job any more, or another submission of the same files.
        """
        if self._read(keys.job_spec(job.id), Job) != job:
            return False
        failures = tuple(ItemFailure(item.n, item.name, reason) for item in job.items)
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self.end(Manifest(job.id, "failed", (), failures, finished=finished, opening=self.control(job.id).retries))
        return True

    def settled(self, job: str, plan: Plan | None = None) -> tuple[set[int], set[int]]:
        """(chunks with a done.json, chunks with a failed.json), from one listing; with `plan` only its live ones."""
        found = self.chunk_objects(job, plan)
        return set(found.done), found.failed

    def chunk_objects(self, job: str, plan: Plan | None = None) -> ChunkObjects:
        """List the objects of all chunks; with `plan` only of its live ones."""
        live = None if plan is None else {chunk.n for chunk in plan.live}
        found = ChunkObjects({}, set(), {}, set())
        prefix = keys.job_prefix(job) + "chunks/"
        for entry in self.storage.entries(prefix):
            text, _, name = entry.key[len(prefix) :].partition("/")
            number = _integer(text)
            if number is None or text != str(number) or (live is not None and number not in live):
                continue  # not a chunk's name
            if name == "done.json":
                found.done[number] = entry.etag
            elif name == "failed.json":
                found.failed.add(number)
            elif attempt := keys.attempt_of(name):
                if attempt not in (known := found.attempts.get(number, ())):
                    found.attempts[number] = (*known, attempt)
                if entry.etag:
                    found.stored.add(_digest(entry))
        found.failed.difference_update(found.done)
        return found

    def dones(self, plan: Plan, chunks: Iterable[int]) -> Iterator[Done]:
        """Yield the commits of `chunks` of `plan`, in their order; raise as `done` does."""
        return in_order(lambda n: self.done(plan.job, plan.chunks[n]), chunks, AT_ONCE, "read")

    def done(self, job: str, chunk: Chunk) -> Done:
        """Return the commit of one chunk; raise Missing where there is none, IntegrityError where it is not the chunk's.

        A commit names only what its own chunk's attempts stored, and the frames that the plan has the chunk own.
        """
        return self.checked(job, chunk, self.done_text(job, chunk.n))

    def done_text(self, job: str, chunk: int) -> bytes:
        """Return the bytes of the commit of one chunk, unread; raise Missing where there is none."""
        key = keys.done(job, chunk)
        data = self.storage.find(key, MAX_DOCUMENT)
        if data is None:
            raise Missing(f"object {key} is not in bucket {self.storage.bucket}; `respool retry {job}` does it again.")
        return data

    def checked(self, job: str, chunk: Chunk, data: bytes) -> Done:
        """Return the commit that `data`, the bytes of a chunk's done.json, hold; raise IntegrityError as `done` does."""
        key = keys.done(job, chunk.n)
        done = decode(data, Done, key)
        own = keys.chunk_prefix(job, chunk.n) + "attempt-"
        wrong = done.mismatch(job, chunk)
        if any(not output.key.startswith(own) for output in done.outputs):
            wrong = "it names objects that are not its chunk's"
        if wrong:
            raise IntegrityError(f"{key} is no commit of {chunk.label}: {wrong}; `respool retry {job}` does it again.")
        return done

    def failed(self, job: str, chunk: int) -> Failed:
        """Why a chunk was set aside."""
        found = self._read(keys.failed(job, chunk), Failed)
        if found is None:
            raise Missing(f"object {keys.failed(job, chunk)} is not in bucket {self.storage.bucket}.")
        return found

    def _read(self, key: str, kind: type[T]) -> T | None:
        """Read a document, decoded strictly; None when there is none."""
        found = self._tagged(key, kind)
        return None if found is None else found[0]

    def _tagged(self, key: str, kind: type[T]) -> tuple[T, str] | None:
        found = self.storage.tagged(key, MAX_DOCUMENT)
        return None if found is None else (decode(found[0], kind, key), found[1])
