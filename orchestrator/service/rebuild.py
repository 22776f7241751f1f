"""Ledgers made from what S3 holds, whose commits must be of the plan's frames."""

from __future__ import annotations

import logging
from collections.abc import Set

from contract import keys
from contract.errors import IntegrityError
from contract.job import Job, Plan
from contract.parallel import in_order
from orchestrator.job_store import AT_ONCE, Records
from stores.commits import winner
from stores.ledger import Ledger

logger = logging.getLogger(__name__)

_READ = 2000
"""Commits of a job never opened again that are read here. Beyond it only assembly looks, which reads them anyway:
such a job has no others but those that a worker made before `respool gc` removed all of it."""


def create_ledger(records: Records, ledger: Ledger, plan: Plan, job: Job) -> None:
    """Make the ledger of a job from what S3 holds."""
    done, failed = records.settled(plan.job, plan)
    done -= drop_foreign(records, plan, done)
    frames = {n: plan.chunks[n].count for n in done}
    ledger.create(plan, job.priority, records.control(plan.job), frames, failed, job.submitter)
    ledger.taken_up(plan.job)


def drop_foreign(records: Records, plan: Plan, done: Set[int]) -> set[int]:
    """Remove commits among `done` that own other frames than `plan` says, and return their chunks: they are done again."""
    if plan.opening == 0 and len(done) > _READ:
        return set()

    def foreign(n: int) -> bool:
        try:
            found = winner(records.storage, plan.job, n)
        except IntegrityError:
            return False  # no commit at all: assembly names it, and `respool retry` does it again
        return found is not None and bool(plan.chunks[n].input) and found.work != plan.chunks[n].work(plan.job)

    chunks = sorted(done)
    wrong = {n for n, other in zip(chunks, in_order(foreign, chunks, AT_ONCE, "commits"), strict=True) if other}
    for n in wrong:
        logger.warning("a commit of other frames is removed", extra={"job": plan.job, "chunk": n})
        records.storage.delete(keys.done(plan.job, n))
    return wrong
