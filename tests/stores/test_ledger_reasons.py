"""Reasons of ended attempts: a pause or a shutdown differs from a failure."""

from __future__ import annotations

from contract.job import Chunk, Control, Plan
from contract.settings import Settings
from stores.ledger import HANDED_BACK, Ledger


def test_handed_back_is_not_failed(settings: Settings) -> None:
    """The reason of an attempt that counts says `attempt`, that of one handed back begins with HANDED_BACK."""
    ledger, job = Ledger(settings), "ab" * 8
    plan = Plan(job, (Chunk(0, "video", 0, 0, 10, "film chunk 1/1"),))
    ledger.create(plan, 4, Control(), {}, ())
    for counted, reason in ((False, "The job was paused."), (True, "EnhanceError: NaN")):
        verdict, lease = ledger.claim(job, 0, "w1")
        assert lease is not None, verdict
        ledger.release(lease, reason, counted)
    paused, failed = ledger.reasons(job, 0)
    assert paused.startswith(HANDED_BACK)
    assert paused.endswith("on w1: The job was paused.")
    assert failed.startswith("attempt ")
