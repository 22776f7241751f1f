"""The Lua scripts on a real Redis, against a model in plain Python that says what they mean."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis import Redis

from contract.errors import Unreachable
from contract.job import Chunk, Control, Plan
from contract.settings import Settings
from stores.ledger import Lease, Ledger

JOB = "00000000000000aa"
TOTAL = 6
TRIES = 3
CHUNKS = st.integers(0, TOTAL - 1)
PLAN = Plan(JOB, tuple(Chunk(n, "video", 0, n * 10, 10, f"film chunk {n}") for n in range(TOTAL)))


class Model(RuleBasedStateMachine):
    """A model of the ledger, with sets and dictionaries instead of Redis."""

    ledger: ClassVar[Ledger]
    raw: ClassVar[Redis]

    def __init__(self) -> None:
        super().__init__()
        self.raw.flushdb()
        self.known = False
        self.done: set[int] = set()
        self.failed: set[int] = set()
        self.in_s3: set[int] = set()
        self.held: dict[int, Lease] = {}
        self.dead: list[Lease] = []
        self.tries: dict[int, int] = {}
        self.sent: set[int] = set()
        self.paused = False

    @initialize()
    def found(self) -> None:
        assert self.ledger.create(PLAN, 4, Control(), {}, ())
        assert not self.ledger.create(PLAN, 4, Control(), dict.fromkeys(range(TOTAL), 10), ())
        self.known = True

    def _closed(self, chunk: int) -> bool:
        return chunk in self.done or chunk in self.failed

    @precondition(lambda self: self.known)
    @rule(chunk=CHUNKS, worker=st.sampled_from(["a", "b"]))
    def claim(self, chunk: int, worker: str) -> None:
        verdict, lease = self.ledger.claim(JOB, chunk, worker)
        expected = (
            "done"
            if chunk in self.done
            else "failed"
            if chunk in self.failed
            else "leased"
            if chunk in self.held
            else "paused"
            if self.paused
            else "claimed"
        )
        assert verdict == expected
        self.sent.discard(chunk)
        if lease is not None:
            self.held[chunk] = lease
            assert lease.plan == PLAN.fingerprint()

    @precondition(lambda self: self.known and self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.held)))
        assert self.ledger.renew(self.held[chunk]) == ("paused" if self.paused else "ok")

    @precondition(lambda self: self.known and self.dead)
    @rule(data=st.data())
    def a_dead_attempt_never_gets_its_lease_back(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.dead))
        assert self.ledger.renew(lease) in ("lost", "done")
        assert self.ledger.release(lease, "late", counted=True) == "lost"

    @precondition(lambda self: self.known and self.held)
    @rule(data=st.data(), counted=st.booleans(), dies=st.booleans())
    def release(self, data: st.DataObject, counted: bool, dies: bool) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.held)))
        lease = self.held.pop(chunk)
        self.tries[chunk] = self.tries.get(chunk, 0) + counted
        used_up = counted and self.tries[chunk] >= TRIES
        assert self.ledger.release(lease, "why", counted) == ("exhausted" if used_up else "again")
        self.dead.append(lease)
        if used_up:
            self._exhausted(chunk, dies)

    def _exhausted(self, chunk: int, dies: bool) -> None:
        """Set a chunk aside, or die before that: then the reconciler names it again."""
        if dies:
            self.sent.add(chunk)
        else:
            assert self.ledger.settle(JOB, chunk, "failed")
            self.failed.add(chunk)

    @precondition(lambda self: self.known and self.held)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.held)))
        self.dead.append(self.held.pop(chunk))
        assert self.ledger.settle(JOB, chunk, "done", 10)
        assert not self.ledger.settle(JOB, chunk, "done", 10)
        assert not self.ledger.settle(JOB, chunk, "failed")
        self.done.add(chunk)
        self.in_s3.add(chunk)
        self.failed.discard(chunk)
        self.sent.discard(chunk)

    @precondition(lambda self: self.known and self.held)
    @rule(data=st.data(), dies=st.booleans())
    def a_lease_runs_out(self, data: st.DataObject, dies: bool) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.held)))
        self.raw.zadd(f"respool:{{{JOB}}}:leases", {str(chunk): 1})
        self.raw.hdel(f"respool:{{{JOB}}}", "looked")  # however long the last look is ago here
        exhausted, again = self.ledger.reconcile(JOB, 3600)
        self.dead.append(self.held.pop(chunk))
        self.tries[chunk] = self.tries.get(chunk, 0) + 1
        if self.tries[chunk] >= TRIES:
            assert (exhausted, again) == ([chunk], [])
            self._exhausted(chunk, dies)
        else:
            assert (exhausted, again) == ([], [chunk])

    @precondition(lambda self: self.known)
    @rule(count=st.integers(1, 3))
    def dispatch(self, count: int) -> None:
        chosen = self.ledger.dispatch(JOB, count)
        assert len(chosen) <= count
        for chunk in chosen:
            assert not self._closed(chunk)
            assert chunk not in self.held
        self.sent |= set(chosen)

    @precondition(lambda self: self.known)
    @rule()
    def every_announcement_was_lost(self) -> None:
        exhausted, again = self.ledger.reconcile(JOB, -1)
        used_up = {chunk for chunk in self.sent if self.tries.get(chunk, 0) >= TRIES}
        assert (set(exhausted), set(again)) == (used_up, self.sent - used_up)
        self.sent = used_up

    @precondition(lambda self: self.known)
    @rule(paused=st.booleans())
    def ask(self, paused: bool) -> None:
        self.ledger.ask(JOB, Control(paused=paused))
        self.paused = paused

    @rule()
    def redis_forgets_everything(self) -> None:
        self.raw.flushdb()
        verdict, lease = self.ledger.claim(JOB, 0, "a")
        assert (verdict, lease) == ("unknown", None)
        assert all(self.ledger.renew(held) == "unknown" for held in self.held.values())
        assert self.ledger.create(PLAN, 4, Control(self.paused), dict.fromkeys(self.in_s3, 10), self.failed)
        self.sent.clear()
        self.tries.clear()
        self.dead.clear()
        for held in self.held.values():  # a worker that is still running takes up its lease again
            assert self.ledger.renew(held) == ("paused" if self.paused else "ok")

    @precondition(lambda self: self.known and self.failed)
    @rule()
    def retry(self) -> None:
        assert self.ledger.revive(JOB, sorted(self.failed)) == len(self.failed)
        for chunk in self.failed:
            self.tries.pop(chunk, None)
        self.failed.clear()

    @invariant()
    def counts_agree(self) -> None:
        if not self.known:
            return
        counts = self.ledger.counts(JOB)
        assert counts is not None
        assert (counts.done, counts.failed) == (len(self.done), len(self.failed))
        assert counts.running == len(self.held)
        assert [self.ledger.tries(JOB, chunk) for chunk in range(TOTAL)] == [self.tries.get(c, 0) for c in range(TOTAL)]
        assert counts.waiting == len(self.sent)
        assert counts.frames_done == 10 * len(self.done)
        assert counts.settled == (len(self.done | self.failed) == TOTAL)

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Whatever is neither settled, held nor announced is still to be announced."""
        if not self.known:
            return
        name = f"respool:{{{JOB}}}"
        cursor = int(self.raw.hget(name, "cursor") or 0)
        again = {int(c) for c in self.raw.zrange(f"{name}:again", 0, -1)}
        for chunk in range(TOTAL):
            if not self._closed(chunk) and chunk not in self.held and chunk not in self.sent:
                assert chunk in again or chunk >= cursor


@pytest.mark.slow
def test_the_scripts_do_what_the_model_says(settings: Settings) -> None:
    """Any sequence of claims, losses, commits, pauses and lost memories leaves the ledger as the model has it."""
    Model.ledger = Ledger(replace(settings, max_attempts=TRIES))
    Model.raw = Redis.from_url(settings.redis_url, decode_responses=True)
    machine = Model.TestCase
    machine.settings = hypothesis_settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    machine("runTest").runTest()


def test_a_lock_has_one_holder_and_ends_with_it(settings: Settings) -> None:
    """A second taker gets None while the lock is held, and the lock once it is released."""
    ledger, other = Ledger(settings), Ledger(settings)
    with ledger.lock("assemble:x", 30) as keep:
        assert keep is not None
        assert keep()
        with other.lock("assemble:x", 30) as second:
            assert second is None
    with other.lock("assemble:x", 30) as third:
        assert third is not None


def test_a_lost_lock_is_noticed(settings: Settings) -> None:
    """Renewing says False once the lock is somebody else's."""
    ledger = Ledger(settings)
    with ledger.lock("ingest:x", 30) as keep:
        assert keep is not None
        with Redis.from_url(settings.redis_url) as raw:
            raw.set("respool:lock:ingest:x", "somebody else")
        assert not keep()


def test_workers_are_forgotten_when_they_stop_beating(settings: Settings) -> None:
    """A worker is listed from its first word until its lease time passes without another."""
    ledger = Ledger(settings)
    ledger.announce_worker("w1", {"model": "lanczos"})
    assert ledger.workers()["w1"] == {"model": "lanczos"}
    with Redis.from_url(settings.redis_url) as raw:
        raw.zadd("respool:workers", {"w1": 1})
    assert ledger.workers() == {}


def test_no_redis_is_one_sentence(settings: Settings) -> None:
    """A dead address and a wrong password both say which address and what to check."""
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 does not answer"):
        Ledger(replace(settings, redis_url="redis://127.0.0.1:1/0", connect_timeout_s=0.3)).ping()
    wrong = settings.redis_url.replace("redis://:", "redis://:x", 1)
    with pytest.raises(Unreachable, match="refused the password"):
        Ledger(replace(settings, redis_url=wrong)).ping()
