"""A job's life as a state machine over the product itself: whatever opens, ends, loses or kills, the user has a way to the right result.

Rules draw what orchestrators, workers, users and faults do; testkit/trial.py does it. After each rule no commit may name an object
that the product removed; at the end the user does what the status advises, and must get all films, each with its own pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contract import keys
from contract.errors import RespoolError
from contract.job import Done
from orchestrator.jobs.client import Jobs
from testkit.call_faults import Mode
from testkit.crash_points import Laboratory, Material, collect
from testkit.trial import Trial
from testkit.verdict import judge

_WAYS_OUT = 8
"""Times that a user follows the advice of a status."""

_FAULTS: tuple[Mode, ...] = ("before", "after", "repeated", "outage", "killed", "reader killed")


class JobLife(RuleBasedStateMachine):
    """Two films, two orchestrators, two workers."""

    laboratory: ClassVar[Laboratory]

    @initialize()
    def submitted(self) -> None:
        """Begin with a job."""
        self.material: Material
        self.trial: Trial
        self.trial, self.material = self.laboratory.begin(2, 2)
        self.lost: set[str] = set()
        self.killed = False
        self.trial.submit(self.material.draft)

    def _give(self, command: Callable[[], object]) -> None:
        """Give a command once; what it refuses, or what fails, is the user's to see."""
        self.trial.once(command, RespoolError)

    @rule(n=st.integers(0, 1))
    def look(self, n: int) -> None:
        """Let an orchestrator look."""
        self.trial.look(n)

    @rule()
    def work(self) -> None:
        """Let workers do what is announced."""
        self.trial.work()

    @rule(which=st.integers(0, 1), n=st.integers(0, 60), mode=st.sampled_from(_FAULTS))
    def disturbed(self, which: int, n: int, mode: Mode) -> None:
        """Disturb one of the next calls of an orchestrator and of the workers."""
        self.trial.calls.arm(n, mode)
        self.trial.from_here = True
        self.trial.look(which)
        self.trial.work()
        self.trial.from_here = False
        self.killed |= self.trial.calls.fired and mode in ("killed", "reader killed")

    @rule()
    def a_minute_passes(self) -> None:
        """Let locks, leases and messages run out; a worker that lives has many heartbeats in that time."""
        self.trial.beat()
        self.trial.pass_time()

    @rule(refused=st.sets(st.integers(0, 1)), poison=st.sets(st.integers(0, 5)))
    def conditions_change(self, refused: set[int], poison: set[int]) -> None:
        """Refuse other items at ingest, and let other chunks fail, from now on."""
        self.trial.acts.refusals = dict.fromkeys(refused, "refused by the trial")
        self.trial.poison = poison

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        """Pause or resume."""
        self._give(lambda: Jobs(self.trial.settings).control(self.trial.job, paused=paused))

    @rule()
    def cancel(self) -> None:
        """Cancel the job."""
        self._give(lambda: Jobs(self.trial.settings).control(self.trial.job, cancelled=True))

    @rule()
    def retry(self) -> None:
        """Retry the job."""
        self._give(lambda: Jobs(self.trial.settings).retry(self.trial.job))

    @rule(results=st.booleans())
    def collected(self, results: bool) -> None:
        """Collect what ended."""
        self._give(lambda: collect(self.trial, results))

    @rule()
    def resubmit(self) -> None:
        """Submit the same files."""
        self.trial.submit(self.material.draft)

    @rule(which=st.integers(0, 999))
    def lose(self, which: int) -> None:
        """Lose an object of the store that is no document; how many there are differs when the same life is tried again."""
        prefix = keys.job_prefix(self.trial.job)
        there = [key for key, _ in self.trial.storage.list(prefix) if not key.endswith((".json", ".jsonl"))]
        if there:
            key = there[which % len(there)]
            self.trial.storage.delete(key)
            self.lost.add(key)

    @rule()
    def forget(self) -> None:
        """Empty Redis."""
        self.trial.forget()

    @invariant()
    def commits_name_what_is_there(self) -> None:
        """Hold that nothing but the store loses what a commit names, unless the job is collected."""
        if not hasattr(self, "trial") or self.trial.records.control(self.trial.job).collected:
            return
        there = dict(self.trial.storage.list(keys.job_prefix(self.trial.job)))
        for key in there:
            if key.endswith("/done.json"):
                done = msgspec.json.decode(self.trial.storage.get(key), type=Done)
                gone = {output.key for output in done.outputs} - there.keys() - self.lost
                assert not gone, (key, gone)

    def teardown(self) -> None:
        """Follow the advice of the status until the job is done, and judge it."""
        if not hasattr(self, "trial"):
            return
        trial = self.trial
        try:
            trial.acts.refusals, trial.poison = {}, set()
            for _ in range(_WAYS_OUT):
                trial.rest()
                if not trial.storage.exists(keys.job_spec(trial.job)):  # collected whole: the same files make it anew
                    wrong = ["collected"]
                    trial.submit(self.material.draft)
                    continue
                state = Jobs(trial.settings).status(trial.job).state
                if state == "paused":
                    self._give(lambda: Jobs(trial.settings).control(trial.job, paused=False))
                    continue
                wrong = (
                    judge(trial, self.material.sources, lost=self.lost, killed=self.killed)
                    if state == "done"
                    else [state]
                )
                if not wrong:
                    return
                trial.submit(self.material.draft)
                self._give(lambda: Jobs(trial.settings).retry(trial.job))
            raise AssertionError(wrong)
        finally:
            trial.close()
