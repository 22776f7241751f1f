"""A job's documents in S3: reading them, and the few writes that change what a job is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec import Struct

from contract import keys
from contract.documents import decode, encode
from contract.errors import IntegrityError, StorageError, UsageError
from contract.job import Control, Done, Failed, Job, Manifest, Plan
from contract.parallel import in_order
from stores.storage import Storage

AT_ONCE = 16
"""Objects worked on at a time; boto3's pool holds as many connections."""

MAX_DOCUMENT = 256 << 20
"""Bytes that a document may have: job.json of a million images. What is larger was not written by us."""

T = TypeVar("T", bound=Struct)


def _integer(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 12 else None


class Records:
    """The documents of all jobs in one bucket."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def jobs(self) -> Iterator[str]:
        """Ids of all jobs in the store, whole or half submitted."""
        for name in self.storage.folders("jobs/"):
            try:
                yield keys.check_job(name)
            except UsageError:
                continue  # somebody else's folder in our bucket is none of our business

    def job(self, job: str) -> Job:
        """The job; UsageError when there is none of that id."""
        found = self._read(keys.job_spec(job), Job)
        if found is None:
            raise UsageError(f"there is no job {job} in this store; `respool status` lists those there are.")
        return found

    def plan(self, job: str) -> Plan | None:
        return self._read(keys.plan(job), Plan)

    def control(self, job: str) -> Control:
        return self._read(keys.control(job), Control) or Control()

    def set_control(self, job: str, control: Control) -> None:
        self.storage.put(keys.control(job), encode(control))

    def manifest(self, job: str) -> Manifest | None:
        return self._read(keys.manifest(job), Manifest)

    def settled(self, job: str, total: int | None = None) -> tuple[set[int], set[int]]:
        """(chunks with a done.json, chunks with a failed.json), from one listing; none beyond `total`, the plan's."""
        done: set[int] = set()
        failed: set[int] = set()
        prefix = keys.job_prefix(job) + "chunks/"
        for key, _ in self.storage.list(prefix):
            number, _, name = key[len(prefix) :].partition("/")
            if number != str(_integer(number)) or (total is not None and int(number) >= total):
                continue  # no chunk of ours is called so
            if name == "done.json":
                done.add(int(number))
            elif name == "failed.json":
                failed.add(int(number))
        return done, failed - done

    def dones(self, job: str, chunks: Iterable[int]) -> Iterator[Done]:
        """The commits of `chunks`, in their order; StorageError when one is missing, IntegrityError when one is no commit.

        A commit names only what its own chunk's attempts stored, whoever wrote it.
        """
        return in_order(lambda chunk: self.done(job, chunk), chunks, AT_ONCE, "read")

    def done(self, job: str, chunk: int) -> Done:
        """The commit of one chunk; raises as `dones` does."""
        key = keys.done(job, chunk)
        done = self._read(key, Done)
        if done is None:
            raise StorageError(f"object {key} is not in bucket {self.storage.bucket}; was the job removed?")
        own = keys.chunk_prefix(job, chunk) + "attempt-"
        if done.chunk != chunk or any(not output.key.startswith(own) for output in done.outputs):
            raise IntegrityError(f"{key} names objects that are not its chunk's; `respool retry {job}` does it again.")
        return done

    def failed(self, job: str, chunk: int) -> Failed:
        """Why a chunk was set aside."""
        found = self._read(keys.failed(job, chunk), Failed)
        if found is None:
            raise StorageError(f"object {keys.failed(job, chunk)} is not in bucket {self.storage.bucket}.")
        return found

    def _read(self, key: str, kind: type[T]) -> T | None:
        """A document, decoded strictly; None when there is none."""
        data = self.storage.find(key, MAX_DOCUMENT)
        return None if data is None else decode(data, kind, key)
