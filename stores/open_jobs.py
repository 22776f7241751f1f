"""Open jobs in Redis: their list, their pace, and what their submitters have in flight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

from contract import keys
from stores.live_workers import LiveWorkers

JOBS = "respool:jobs"
LIMITS = "respool:limits"
_FRESH_S = 30.0


@dataclass(frozen=True)
class Limits:
    """Quotas of each submitter, as the orchestrators have them: `chunks` in flight, and `stored` bytes; 0 means none."""

    chunks: int = 0
    stored: int = 0


def job_key(job: str) -> str:
    """Return the key of a job's ledger, with which the keys of its parts begin."""
    return f"respool:{{{keys.check_job(job)}}}"


class OpenJobs(LiveWorkers):
    """The list of jobs that have a ledger."""

    def jobs(self) -> list[tuple[str, int]]:
        """List (job, priority) of all jobs with a ledger, highest priority first."""
        found = self._call(lambda: self._redis.zrevrange(JOBS, 0, -1, withscores=True))
        return [(name, int(score)) for name, score in cast(list[tuple[str, float]], found)]

    def in_flight(self) -> Counter[str]:
        """Count the chunks that are published or leased, by submitter. Nothing else counts them, so that no count can be wrong."""

        def read() -> Counter[str]:
            names = cast(list[str], self._redis.zrange(JOBS, 0, -1))
            pipe = self._redis.pipeline(transaction=True)
            for name in map(job_key, names):
                pipe.hget(name, "submitter")
                pipe.zcard(f"{name}:leases")
                pipe.zcard(f"{name}:sent")
            found: list[Any] = pipe.execute()
            counts: Counter[str] = Counter()
            for submitter, leased, sent in zip(found[::3], found[1::3], found[2::3], strict=True):
                counts[submitter or ""] += leased + sent
            return counts

        return self._call(read)

    def set_limits(self, limits: Limits) -> None:
        """Let commands know the quotas by which orchestrators go."""
        values = {"chunks": limits.chunks, "stored": limits.stored}
        self._call(lambda: self._redis.hset(LIMITS, mapping=cast(Any, values)))

    def limits(self) -> Limits:
        """Return the quotas that the last orchestrator to look has set; none where this Redis has not heard of any."""
        found = self._call(lambda: cast(dict[str, str], self._redis.hgetall(LIMITS)))
        return Limits(int(found.get("chunks", 0)), int(found.get("stored", 0)))

    def recent(self, job: str) -> tuple[float, list[tuple[float, int]]]:
        """Return Redis' time and (time, frames) of the last commits, newest first, from which a rate is computed."""

        def read() -> tuple[float, list[tuple[float, int]]]:
            seconds, micros = self._redis.time()
            lines = cast(list[str], self._redis.lrange(f"{job_key(job)}:recent", 0, -1))
            pairs = [line.split() for line in lines]
            return seconds + micros / 1e6, [(float(at), int(frames)) for at, frames in pairs]

        return self._call(read)

    def pace(self, job: str) -> float:
        """Return chunks a second over the last commits; 0 when there was none in half a minute."""
        now, commits = self.recent(job)
        fresh = [at for at, _ in commits if now - at < _FRESH_S]
        return len(fresh) / max(now - fresh[-1], 0.1) if fresh else 0.0
