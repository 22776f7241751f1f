"""A job's documents in S3: reading them, and the few writes that change what a job is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from contract import job as words
from contract import keys
from contract.errors import UsageError
from contract.job import Control, Done, Failed, Job, Manifest, Plan
from contract.storage import Storage

_READERS = 16
"""Objects read at a time; boto3's pool holds as many connections."""


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
        data = self.storage.find(keys.job_spec(job))
        if data is None:
            raise UsageError(f"there is no job {job} in this store; `respool status` lists those there are.")
        return words.decode(data, Job, keys.job_spec(job))

    def plan(self, job: str) -> Plan | None:
        data = self.storage.find(keys.plan(job))
        return None if data is None else words.decode(data, Plan, keys.plan(job))

    def control(self, job: str) -> Control:
        data = self.storage.find(keys.control(job))
        return Control() if data is None else words.decode(data, Control, keys.control(job))

    def set_control(self, job: str, control: Control) -> None:
        self.storage.put(keys.control(job), words.encode(control))

    def manifest(self, job: str) -> Manifest | None:
        data = self.storage.find(keys.manifest(job))
        return None if data is None else words.decode(data, Manifest, keys.manifest(job))

    def settled(self, job: str) -> tuple[set[int], set[int]]:
        """(chunks with a done.json, chunks with a failed.json), from one listing."""
        done: set[int] = set()
        failed: set[int] = set()
        prefix = keys.job_prefix(job) + "chunks/"
        for key, _ in self.storage.list(prefix):
            number, _, name = key[len(prefix) :].partition("/")
            if name == "done.json":
                done.add(int(number))
            elif name == "failed.json":
                failed.add(int(number))
        return done, failed - done

    def dones(self, job: str, chunks: Iterable[int]) -> Iterator[Done]:
        """The commits of `chunks`, in their order; StorageError when one is missing."""

        def read(chunk: int) -> Done:
            key = keys.done(job, chunk)
            return words.decode(self.storage.get(key), Done, key)

        with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
            yield from pool.map(read, chunks)

    def failed(self, job: str, chunk: int) -> Failed:
        key = keys.failed(job, chunk)
        return words.decode(self.storage.get(key), Failed, key)
