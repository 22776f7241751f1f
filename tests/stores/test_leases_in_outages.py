"""Leases while Redis' answers are lost, or nobody could look: they cost no chunk a try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from contract.job import Chunk, Control, Plan
from contract.settings import Settings
from stores.ledger import Ledger

JOB = "00000000000000ab"
PLAN = Plan(JOB, tuple(Chunk(n, "video", 0, n * 10, 10, f"film chunk {n}") for n in range(2)))
LEASES = f"respool:{{{JOB}}}:leases"


@pytest.fixture
def raw(settings: Settings) -> Iterator[Redis]:
    with Redis.from_url(settings.redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def ledger(settings: Settings, raw: Redis) -> Ledger:
    made = Ledger(settings)
    made.create(PLAN, 4, Control(), {}, ())
    return made


def test_a_claim_whose_answer_was_lost_is_made_again(ledger: Ledger) -> None:
    """The same worker with the same nonce gets its lease again, one attempt in all; any other finds it leased."""
    verdict, lease = ledger.claim(JOB, 0, "a", "0123abcd")
    assert (verdict, ledger.claim(JOB, 0, "a", "0123abcd")) == ("claimed", ("claimed", lease))
    assert lease is not None
    assert lease.attempt == "1-0123abcd"
    assert ledger.claim(JOB, 0, "a", "ffff0000") == ("leased", None)
    assert ledger.claim(JOB, 0, "b", "0123abcd") == ("leased", None)


def test_leases_that_ran_out_while_nobody_looked_are_not_lost(ledger: Ledger, raw: Redis) -> None:
    """After a gap between two looks a lease has another term; with looks as usual it ends, and counts."""
    _, lease = ledger.claim(JOB, 0, "a")
    assert lease is not None
    ledger.reconcile(JOB, 60)
    raw.zadd(LEASES, {"0": 0})
    raw.hset(f"respool:{{{JOB}}}", "looked", 0)
    assert ledger.reconcile(JOB, 60) == ([], [])
    assert ledger.renew(lease) == "ok"
    assert ledger.tries(JOB, 0) == 0
    raw.zadd(LEASES, {"0": 0})
    assert ledger.reconcile(JOB, 60) == ([], [0])
    assert ledger.renew(lease) == "lost"
    assert ledger.tries(JOB, 0) == 1
