"""Views of open jobs: each job's plan, and its state by S3 and the ledger."""

from __future__ import annotations

import time

from contract.job import Control, Plan
from orchestrator.job_state import View
from orchestrator.job_store import Records
from stores.ledger import Counts, Ledger

LOOK_AGAIN_S = 30.0
"""Seconds between checks of S3 for what Redis should have: a command may die between its two writes."""


class JobViews:
    """Reader of S3 and the ledger; it keeps a plan for as long as the ledger counts that plan's chunks."""

    def __init__(self, records: Records, ledger: Ledger) -> None:
        self._records, self._ledger = records, ledger
        self.plans: dict[str, Plan] = {}
        self._fingerprints: dict[str, str] = {}
        self._read: dict[str, float] = {}

    def forget(self, job: str) -> None:
        """Read everything again at the next look."""
        self._keep(job, None)
        self._read.pop(job, None)

    def _keep(self, job: str, plan: Plan | None) -> None:
        if plan is None:
            self.plans.pop(job, None)
            self._fingerprints.pop(job, None)
        elif plan is not self.plans.get(job):
            self.plans[job], self._fingerprints[job] = plan, plan.fingerprint()

    def _counts(self, counts: Counts | None, plan: Plan | None) -> bool:
        """Return whether `counts` are of the chunks of `plan`, the one that is kept."""
        if counts is None or plan is None or counts.opening != plan.opening:
            return False
        return counts.plan in ("", self._fingerprints[plan.job])

    def look(self, job: str) -> View:
        """Return the job's view. A running job costs S3 three small requests every LOOK_AGAIN_S."""
        counts, plan = self._ledger.counts(job), self.plans.get(job)
        fresh = time.monotonic() - self._read.get(job, float("-inf")) < LOOK_AGAIN_S
        known = self._counts(counts, plan)
        if counts is not None and known and fresh and not counts.settled and not counts.cancelled:
            return View(True, Control(paused=counts.paused), counts, None)
        control = self._records.control(job)
        if counts is not None and counts.changes < control.changes:
            self._ledger.ask(job, control)  # the process that asked for it did not reach Redis
        manifest = self._records.manifest(job, control)
        collected = manifest is None and known and not self._records.is_planned(job)
        if collected or (counts is not None and counts.outlives(control)):
            # Collected before it was closed, and perhaps submitted anew: plan and ledger are of a job that is no more.
            self._ledger.forget(job)
            counts, plan, known = None, None, False
        if manifest is None and not known:
            plan = self._records.planned(job, control)
        self._read[job] = time.monotonic()
        if plan is None or plan.opening < control.replan:
            plan = None
        self._keep(job, plan)
        if plan is not None and not self._counts(counts, plan):
            counts = None  # of an earlier opening, or a plan that is no more; it is rebuilt
        return View(
            plan is not None or manifest is not None, control, counts, None if manifest is None else manifest.state
        )
