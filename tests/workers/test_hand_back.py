"""A worker that is told to end gives its chunk back, whenever it is told."""

from __future__ import annotations

from typing import Any

import pytest

from contract.job import Chunk, Control, Plan
from contract.ledger import Ledger
from contract.settings import Settings
from workers.enhance import Worker

JOB = "00000000000000b7"


def test_a_worker_told_to_end_while_it_claims_gives_the_chunk_back_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between Redis' yes and the worker's own note of it nobody can hand the chunk back; it is given back right after."""
    ledger = Ledger(settings)
    ledger.found(Plan(JOB, (Chunk(0, "video", 0, 0, 10, "chunk 1"),)), 4, Control(), {}, [])
    worker = Worker(settings)
    claim = worker.ledger.claim

    def told_meanwhile(*args: Any) -> Any:
        answer = claim(*args)
        worker.hand_back()
        return answer

    monkeypatch.setattr(worker.ledger, "claim", told_meanwhile)
    assert worker.work(JOB, 0) == "handed back"
    counts = ledger.counts(JOB)
    assert counts is not None
    assert (counts.running, counts.retried, counts.handed_back) == (0, 0, 1)
    assert worker.idle.is_set()
    assert ledger.claim(JOB, 0, "next")[0] == "claimed"
