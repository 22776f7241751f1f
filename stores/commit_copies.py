"""Copies of commits that wait in Redis until an orchestrator moves them to S3 (`stores.commit_log`)."""

from __future__ import annotations

from typing import cast

from stores.open_jobs import OpenJobs, job_key

LEAST_CHUNKS = 500
"""Chunks of the smallest job whose commits are copied. Reading fewer at a job's end takes half a second."""

LARGEST_COPY = 8192
"""Bytes of the largest commit that is copied: some 2,000 copies of a job wait at most, 16 MiB of Redis' memory."""

_MOST_WAITING = 2000
"""Copies of one job that may wait. Beyond it no orchestrator looks, and the job's end reads what is missing."""


class CommitCopies(OpenJobs):
    """The copies that workers hand in as they settle chunks (lua/settle.lua)."""

    @staticmethod
    def copy_arguments(commit: bytes) -> tuple[bytes, int, int]:
        """Return the arguments of settle.lua about a copy: it is kept for jobs of so many chunks, while fewer than so many wait."""
        return (commit if len(commit) <= LARGEST_COPY else b"", LEAST_CHUNKS, _MOST_WAITING)

    def copies_waiting(self, job: str) -> int:
        """Count the copies of a job's commits that wait."""
        return self._call(lambda: self._redis.llen(f"{job_key(job)}:copies"))

    def take_copies(self, job: str, most: int) -> list[bytes]:
        """Take up to `most` copies, oldest first; no other caller gets them."""

        def take() -> list[str]:
            pipe = self._redis.pipeline(transaction=True)
            pipe.lrange(f"{job_key(job)}:copies", 0, most - 1)
            pipe.ltrim(f"{job_key(job)}:copies", most, -1)
            return cast(list[str], pipe.execute()[0])

        return [copy.encode() for copy in self._call(take)]
