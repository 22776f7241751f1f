"""Leases, commits and counters in Redis. Nothing here is the truth: all of it can be rebuilt from S3.

Every decision that two processes could race for is one Lua script (stores/lua), with Redis' own clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeVar, cast

from redis.client import NEVER_DECODE

from contract import keys
from contract.job import Control, Plan
from contract.settings import Settings
from stores.commit_copies import CommitCopies
from stores.live_workers import FIT
from stores.open_jobs import JOBS
from stores.open_jobs import job_key as _job

SUBMITTED = "respool:submitted"
OPENINGS = "respool:openings"
EPOCH = "respool:epoch"
HANDED_BACK = "handed back by "
"""Beginning of the reasons of attempts that do not count as failed (lua/release.lua)."""
_SCRIPTS = ("claim", "renew", "release", "settle", "dispatch", "reconcile", "revive", "create", "ask", "close")
_COUNTING = ("release", "reconcile")
"""Scripts that count failed tries, see lua/tries.lua."""

Claim = Literal["claimed", "elsewhere", "leased", "done", "failed", "paused", "cancelled", "unknown"]
Renewal = Literal["ok", "paused", "cancelled", "done", "lost", "unknown"]
R = TypeVar("R")


@dataclass(frozen=True)
class Lease:
    """A worker's right to chunk `chunk` of `job`; `attempt` (``<number>-<nonce>``) is the fencing token.

    `plan` is the fingerprint of the plan whose chunks the ledger counts; empty where the ledger has not noted it.
    """

    job: str
    chunk: int
    attempt: str
    worker: str
    plan: str = ""

    @property
    def about(self) -> dict[str, object]:
        """Return the fields that a log line about this attempt carries."""
        return {"job": self.job, "chunk": self.chunk, "attempt": self.attempt}


@dataclass(frozen=True)
class Counts:
    """Counts of a job's ledger. `waiting` are published and not yet claimed, `lapsed` the retried whose lease ran out.

    `plan` is the fingerprint of the plan whose chunks are counted; empty in a ledger of a version that did not note it.
    `submitter` is the one that the chunks count for.
    """

    total: int
    done: int
    failed: int
    running: int
    waiting: int
    frames: int
    frames_done: int
    retried: int
    handed_back: int
    paused: bool
    cancelled: bool
    lapsed: int = 0
    opening: int = 0
    changes: int = 0
    plan: str = ""
    submitter: str = ""

    @property
    def in_flight(self) -> int:
        """Chunks that are published or leased."""
        return self.waiting + self.running

    @property
    def open(self) -> int:
        """Chunks that are neither settled nor in flight."""
        return max(0, self.total - self.done - self.failed - self.in_flight)

    @property
    def settled(self) -> bool:
        """True when no chunk is left to do."""
        return self.done + self.failed >= self.total

    def outlives(self, control: Control) -> bool:
        """Return True when the ledger has later requests than `control`: it belongs to a collected job of the same id."""
        return self.changes > control.changes


def _bits(numbers: Iterable[int], total: int) -> bytes:
    """Make a Redis bitmap (bit 0 is the highest bit of byte 0) of `total` bits with `numbers` set."""
    data = bytearray((total + 7) // 8)
    for n in numbers:
        data[n >> 3] |= 0x80 >> (n & 7)
    return bytes(data)


@cache
def _script(name: str) -> str:
    folder = resources.files("stores") / "lua"
    return (folder / "tries.lua").read_text() * (name in _COUNTING) + (folder / f"{name}.lua").read_text()


class Ledger(CommitCopies):
    """The ledger in one Redis. Safe to share between threads; raises Unreachable when Redis does not answer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._scripts = {name: self._redis.register_script(_script(name)) for name in _SCRIPTS}

    def _run(self, script: str, names: list[str], *args: object) -> Any:
        return self._call(lambda: self._scripts[script](keys=names, args=[cast(Any, a) for a in args]))

    # Jobs

    def create(
        self,
        plan: Plan,
        priority: int,
        control: Control,
        done: dict[int, int],
        failed: Iterable[int],
        submitter: str = "",
    ) -> bool:
        """Make the ledger of a job from what S3 holds; `done` maps chunk to frames. Return False when it exists already.

        A ledger of another plan or opening of the job is replaced. Retired chunks are marked as done and are in no count.
        """
        lost = set(failed) - done.keys() - set(plan.retired)
        settled = done.keys() | set(plan.retired)
        total = len(plan.chunks)
        made = self._run(
            "create",
            [_job(plan.job), JOBS],
            plan.job,
            priority,
            total,
            plan.frames,
            sum(done.values()),
            len(settled),
            len(lost),
            int(control.paused),
            int(control.cancelled),
            _bits(settled, total),
            _bits(lost, total),
            plan.opening,
            len(plan.retired),
            control.changes,
            plan.fingerprint(),
            submitter,
        )
        return bool(made)

    def forget(self, job: str) -> None:
        """Drop a job's ledger: its truth is in S3."""
        names = self._call(lambda: [JOBS, *self._redis.scan_iter(match=f"{_job(job)}*", count=1000)])[1:]
        self._call(lambda: self._redis.zrem(JOBS, job))
        if names:
            self._call(lambda: self._redis.delete(*names))

    def counts(self, job: str) -> Counts | None:
        """Return the job's counts, or None when this Redis does not know it."""
        name = _job(job)

        def read() -> list[Any]:
            pipe = self._redis.pipeline(transaction=True)
            pipe.hgetall(name)
            pipe.zcard(f"{name}:leases")
            pipe.zcard(f"{name}:sent")
            return pipe.execute()

        fields, running, waiting = self._call(read)
        if not fields:
            return None
        retired = int(fields.get("retired", 0))
        return Counts(
            total=int(fields["total"]) - retired,
            done=int(fields["done"]) - retired,
            failed=int(fields["failed"]),
            running=running,
            waiting=waiting,
            frames=int(fields["frames"]),
            frames_done=int(fields["frames_done"]),
            retried=int(fields["retried"]),
            handed_back=int(fields["handed_back"]),
            paused=fields["paused"] == "1",
            cancelled=fields["cancelled"] == "1",
            lapsed=int(fields.get("lapsed", 0)),
            opening=int(fields.get("opening", 0)),
            changes=int(fields.get("changes", 0)),
            plan=fields.get("plan", ""),
            submitter=fields.get("submitter", ""),
        )

    def done(self, job: str) -> bytes:
        """Return the done chunks as a bitmap: bit 0 is the highest bit of byte 0. Empty when this Redis knows nothing."""
        ask: Callable[..., Any] = self._redis.execute_command  # GET would decode the answer as text
        return cast(bytes, self._call(lambda: ask("GET", f"{_job(job)}:done", **{NEVER_DECODE: True})) or b"")

    def submitted(self) -> set[str]:
        """Return jobs that were submitted and may not have a ledger yet."""
        return cast(set[str], self._call(lambda: self._redis.smembers(SUBMITTED)))

    def announce_job(self, job: str) -> None:
        """Announce a new or reopened job to orchestrators."""

        def write() -> None:
            pipe = self._redis.pipeline(transaction=True)
            pipe.hincrby(OPENINGS, keys.check_job(job), 1)
            pipe.sadd(SUBMITTED, job)
            pipe.execute()

        self._call(write)

    def announcements(self, job: str) -> int:
        """Return how often a job was announced, as far as this Redis remembers."""
        return int(cast(str | None, self._call(lambda: self._redis.hget(OPENINGS, job))) or 0)

    def close(self, job: str, announcements: int) -> bool:
        """Drop an ended job's ledger, unless it was announced again since `announcements` were counted; False then."""
        closed = bool(self._run("close", [_job(job), JOBS, SUBMITTED, OPENINGS], job, announcements))
        if closed:
            for kind in ("reasons", "blamed"):
                self._drop(f"{_job(job)}:{kind}:*")
        return closed

    def _drop(self, pattern: str) -> None:
        names = self._call(lambda: list(self._redis.scan_iter(match=pattern, count=1000)))
        if names:
            self._call(lambda: self._redis.delete(*names))

    def taken_up(self, job: str) -> None:
        """Drop the announcement of a job that an orchestrator has taken up."""
        self._call(lambda: self._redis.srem(SUBMITTED, job))

    def remembers(self) -> bool:
        """Return False exactly once after Redis lost everything (or was new): then S3 must be read from the start."""
        return not self._call(lambda: self._redis.set(EPOCH, "1", nx=True))

    def ask(self, job: str, control: Control) -> None:
        """Record the user's request, which workers read when they renew; no effect on a job without a ledger.

        A `control` that is older than the ledger's changes nothing.
        """
        self._run("ask", [_job(job)], int(control.paused), int(control.cancelled), control.changes)

    def reasons(self, job: str, chunk: int) -> tuple[str, ...]:
        """Return the reasons why earlier attempts of a chunk ended, oldest first; HANDED_BACK begins those without a fault."""
        found = self._call(lambda: self._redis.lrange(f"{_job(job)}:reasons:{chunk}", 0, -1))
        return tuple(cast(list[str], found))

    def tries(self, job: str, chunk: int) -> int:
        """Count the failed attempts at a chunk; those that were handed back do not count."""
        found = self._call(lambda: self._redis.hget(f"{_job(job)}:tries", str(chunk)))
        return int(cast(str | None, found) or 0)

    # Chunks, as workers see them

    def claim(self, job: str, chunk: int, worker: str, nonce: str = "") -> tuple[Claim, Lease | None]:
        """Lease a chunk for `lease_ttl_s`; any verdict but ``claimed`` comes without a lease.

        A claim whose answer was lost is made again with the same `nonce` (8 hex digits, drawn at random by default).
        """
        nonce = nonce or secrets.token_hex(4)
        verdict, number, *plan = self._run("claim", [_job(job), FIT], chunk, worker, nonce, self._ttl)
        if verdict != "claimed":
            return verdict, None
        return verdict, Lease(job, chunk, f"{number}-{nonce}", worker, *plan)

    def renew(self, lease: Lease) -> Renewal:
        """Keep a lease for another `lease_ttl_s`; return the user's present request for the job."""
        found = self._run("renew", [_job(lease.job)], lease.chunk, lease.attempt, lease.worker, self._ttl)
        return cast(Renewal, found)

    def release(
        self, lease: Lease, reason: str, counted: bool, delay_s: float = 0.0
    ) -> Literal["again", "exhausted", "lost", "unknown"]:
        """Give a chunk back. A `counted` release is a failed try; ``exhausted`` says it was the last one allowed."""
        found = self._run(
            "release",
            [_job(lease.job), FIT],
            lease.chunk,
            lease.attempt,
            lease.worker,
            reason[:1000],
            int(counted),
            self._settings.max_attempts,
            int(delay_s * 1000),
        )
        return cast(Literal["again", "exhausted", "lost", "unknown"], found)

    def pass_on(self, job: str, chunk: int) -> None:
        """Let a chunk go out again in a second, for another worker; what is done or leased by then does not."""

        def write() -> None:
            pipe = self._redis.pipeline(transaction=True)
            pipe.zrem(f"{_job(job)}:sent", chunk)
            pipe.zadd(f"{_job(job)}:later", {str(chunk): (self._redis.time()[0] + 1) * 1000})
            pipe.execute()

        self._call(write)

    def settle(
        self, job: str, chunk: int, what: Literal["done", "failed"], frames: int = 0, commit: bytes = b""
    ) -> bool:
        """Record that a chunk's done.json or failed.json exists. Return True the first time.

        `commit` are the bytes of done.json, of which large jobs keep a copy.
        """
        return bool(self._run("settle", [_job(job)], chunk, what, frames, *self.copy_arguments(commit)) == 1)

    # Chunks, as orchestrators see them

    def dispatch(self, job: str, count: int, limit: int = 0) -> list[int]:
        """Choose up to `count` chunks to publish now and record that they were.

        With a `limit`, no more than so many chunks of the job's submitter, those of its other jobs included, are in flight then.
        """
        return [int(c) for c in self._run("dispatch", [_job(job), JOBS], count, limit)]

    def reconcile(self, job: str, patience_s: float) -> tuple[list[int], list[int]]:
        """End leases that ran out and publications older than `patience_s`; return (tries used up, to be done again)."""
        exhausted, again = self._run(
            "reconcile", [_job(job), FIT], int(patience_s * 1000), self._settings.max_attempts, self._ttl
        )
        return [int(c) for c in exhausted], [int(c) for c in again]

    def revive(self, job: str, chunks: Iterable[int]) -> int:
        """Let chunks that were set aside be tried again; return their number."""
        return int(self._run("revive", [_job(job)], *chunks))

    @property
    def _ttl(self) -> int:
        return int(self._settings.lease_ttl_s * 1000)
