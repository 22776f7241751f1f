"""A worker that shuts down hands its chunk back, at whatever moment the shutdown begins."""

from __future__ import annotations

from typing import Any

import pytest

from contract.job import Chunk, Control, Plan
from contract.settings import Settings
from stores.ledger import Ledger
from workers.runtime.worker import Worker

JOB = "00000000000000b7"


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    """A ledger with one job of one chunk."""
    ledger = Ledger(settings)
    ledger.forget(JOB)
    ledger.create(Plan(JOB, (Chunk(0, "video", 0, 0, 10, "chunk 1"),)), 4, Control(), {}, [])
    return ledger


def given_back_at_once(ledger: Ledger, worker: Worker) -> None:
    """Check that the chunk is not leased, not counted as failed, published first, and free for the next worker."""
    counts = ledger.counts(JOB)
    assert counts is not None
    assert (counts.running, counts.waiting, counts.retried, counts.handed_back) == (0, 0, 0, 1)
    assert worker.idle.is_set()
    assert ledger.dispatch(JOB, 1) == [0]
    assert ledger.claim(JOB, 0, "next")[0] == "claimed"


def test_a_shutdown_during_the_claim_hands_the_chunk_back_at_once(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shutdown between Redis' answer and the worker's record of the lease hands the chunk back right after."""
    worker = Worker(settings)
    claim = worker.ledger.claim

    def claim_and_shut_down(*args: Any) -> Any:
        answer = claim(*args)
        worker.hand_back()
        return answer

    monkeypatch.setattr(worker.ledger, "claim", claim_and_shut_down)
    assert worker.work(JOB, 0) == "handed back"
    given_back_at_once(ledger, worker)


def test_a_message_after_the_start_of_the_shutdown_is_not_lost(settings: Settings, ledger: Ledger) -> None:
    """The message is acknowledged and gone, but its chunk need not wait until the message counts as lost."""
    assert ledger.dispatch(JOB, 1) == [0]
    worker = Worker(settings)
    worker.hand_back()
    assert worker.work(JOB, 0) == "handed back"
    given_back_at_once(ledger, worker)
