"""A worker that is told to end gives its chunk back, whenever it is told."""

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
    ledger.found(Plan(JOB, (Chunk(0, "video", 0, 0, 10, "chunk 1"),)), 4, Control(), {}, [])
    return ledger


def given_back_at_once(ledger: Ledger, worker: Worker) -> None:
    """Not held, not counted as a failure, first to be announced, and the next worker may have it."""
    counts = ledger.counts(JOB)
    assert counts is not None
    assert (counts.running, counts.waiting, counts.retried, counts.handed_back) == (0, 0, 0, 1)
    assert worker.idle.is_set()
    assert ledger.dispatch(JOB, 1) == [0]
    assert ledger.claim(JOB, 0, "next")[0] == "claimed"


def test_a_worker_told_to_end_while_it_claims_gives_the_chunk_back_at_once(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between Redis' yes and the worker's own note of it nobody can hand the chunk back; it is given back right after."""
    worker = Worker(settings)
    claim = worker.ledger.claim

    def told_meanwhile(*args: Any) -> Any:
        answer = claim(*args)
        worker.hand_back()
        return answer

    monkeypatch.setattr(worker.ledger, "claim", told_meanwhile)
    assert worker.work(JOB, 0) == "handed back"
    given_back_at_once(ledger, worker)


def test_a_message_that_comes_after_the_word_to_end_is_not_swallowed(settings: Settings, ledger: Ledger) -> None:
    """The message is gone with its acknowledgement: its chunk must not wait until the announcement counts as lost."""
    assert ledger.dispatch(JOB, 1) == [0]
    worker = Worker(settings)
    worker.hand_back()
    assert worker.work(JOB, 0) == "handed back"
    given_back_at_once(ledger, worker)
