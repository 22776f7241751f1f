"""The job's state machine, explored: whatever dies or forgets, every job ends, and ends once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract.job import Control, State
from orchestrator.job_state import Step, View, state, step
from orchestrator.service.fair_share import Claimant, ahead, share
from stores.ledger import Counts

TOTAL = 4


class World(RuleBasedStateMachine):
    """S3 as sets of objects, Redis as a ledger that may vanish, and orchestrators that do as `step` says."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = False
        self.done: set[int] = set()
        self.failed: set[int] = set()
        self.manifest: State | None = None
        self.manifests = 0
        self.control = Control()
        self.ledger: tuple[set[int], set[int]] | None = None
        self.held: set[int] = set()
        self.sent: set[int] = set()

    def view(self) -> View:
        counts = None
        if self.ledger is not None:
            done, failed = self.ledger
            counts = Counts(
                TOTAL, len(done), len(failed), len(self.held), len(self.sent), TOTAL, len(done), 0, 0, False, False
            )
        return View(self.plan, self.control, counts, self.manifest)

    @rule(dies=st.booleans())
    def orchestrate(self, dies: bool) -> None:
        """Act once; an orchestrator that `dies` does so right after its last write to S3, before Redis hears of it."""
        todo = step(self.view())
        if todo is Step.INGEST:
            self.plan = True
        elif todo is Step.CREATE_LEDGER and not dies:
            self.ledger = (set(self.done), self.failed - self.done)
        elif todo is Step.RUN and not dies and self.ledger is not None:
            self.sent |= set(range(TOTAL)) - self.ledger[0] - self.ledger[1] - self.held
        elif todo is Step.ASSEMBLE:
            assert self.done | self.failed == set(range(TOTAL))
            self.manifest = "failed" if self.failed - self.done else "done"
            self.manifests += 1
        elif todo is Step.CLOSE and not dies:
            self.ledger = None
            self.sent.clear()

    @precondition(lambda self: self.sent and self.ledger is not None)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.sent)))
        self.sent.discard(chunk)
        if not self.control.paused and not self.control.cancelled:
            self.held.add(chunk)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), dies=st.booleans(), works=st.booleans())
    def work(self, data: st.DataObject, dies: bool, works: bool) -> None:
        """A worker commits or sets aside what it holds; one that `dies` does not live to tell the ledger."""
        chunk = data.draw(st.sampled_from(sorted(self.held)))
        self.held.discard(chunk)
        if self.control.cancelled:
            return
        (self.done if works else self.failed).add(chunk)
        if self.ledger is not None and not dies:
            self.ledger[0 if works else 1].add(chunk)
        elif self.ledger is not None:
            self.sent.add(chunk)  # the lease runs out, the next claim finds the object and tells the ledger
            self.ledger[0 if works else 1].add(chunk)

    @rule()
    def redis_forgets(self) -> None:
        self.ledger = None
        self.sent.clear()

    @precondition(lambda self: self.manifest is None and not self.control.cancelled)
    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.control = Control(paused=paused)

    @precondition(lambda self: self.manifest is None)
    @rule()
    def cancel(self) -> None:
        self.control = replace_control(self.control, cancelled=True)

    @precondition(lambda self: state(self.view()) in ("failed", "cancelled"))
    @rule()
    def retry(self) -> None:
        self.failed.clear()
        self.manifest, self.manifests = None, 0
        self.control = Control(retries=self.control.retries + 1)
        self.ledger = None

    @invariant()
    def one_manifest(self) -> None:
        """However often orchestrators die, a job is put together once."""
        assert self.manifests <= 1

    @invariant()
    def never_assembles_early(self) -> None:
        """A result exists only when every chunk was done or set aside."""
        if self.manifest is not None:
            assert self.done | self.failed == set(range(TOTAL))

    def teardown(self) -> None:
        """From wherever we are, with nobody dying any more, the job ends."""
        if self.control.paused and not self.control.cancelled:
            self.control = replace_control(self.control, paused=False)
        for _ in range(8 * TOTAL):
            self.orchestrate(dies=False)
            for chunk in sorted(self.sent):
                self.sent.discard(chunk)
                if self.ledger is not None and not self.control.cancelled:
                    self.done.add(chunk)
                    self.ledger[0].add(chunk)
            self.held.clear()
        assert state(self.view()) in ("done", "failed", "cancelled")
        assert step(self.view()) is Step.CLOSE


def replace_control(control: Control, **changes: bool) -> Control:
    return Control(
        paused=changes.get("paused", control.paused),
        cancelled=changes.get("cancelled", control.cancelled),
        retries=control.retries,
    )


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=300, stateful_step_count=40, deadline=None, derandomize=True)


@given(workers=st.integers(0, 500), busy=st.integers(0, 600), pace=st.floats(0, 1000), window=st.integers(1, 8))
def test_what_waits_is_enough_and_not_more(workers: int, busy: int, pace: float, window: int) -> None:
    """Every idle worker has its announcement, nobody runs dry within a look or two, and the window is never exceeded."""
    places = ahead(workers, busy, pace, window)
    assert 2 <= places <= max(2, window * workers)
    assert places >= min(workers - busy, window * workers)
    assert places >= min(pace, window * workers)


def test_slow_chunks_are_not_announced_long_before_their_time() -> None:
    """64 workers that take three minutes a chunk: a small job stands behind two chunks, not behind 128."""
    assert ahead(64, 64, 64 / 180, 2) == 2
    assert ahead(64, 0, 0.0, 2) == 64
    assert ahead(64, 64, 64 / 7.5, 2) == 35
    assert ahead(64, 60, 200.0, 2) == 128


CLAIMANTS = st.lists(
    st.builds(
        Claimant,
        job=st.uuids().map(str),
        priority=st.integers(0, 9),
        open=st.integers(0, 100_000),
        outstanding=st.integers(0, 500),
    ),
    max_size=6,
    unique_by=lambda c: c.job,
)


@given(CLAIMANTS, st.integers(0, 64))
def test_no_place_is_wasted_and_none_invented(claimants: list[Claimant], places: int) -> None:
    """Every place goes to a job that has something open, and no job gets more than it has."""
    given_out = share(claimants, places)
    by_job = {c.job: c for c in claimants}
    assert all(0 < count <= by_job[job].open for job, count in given_out.items())
    assert sum(given_out.values()) == min(places, sum(c.open for c in claimants))


def test_a_small_job_goes_before_the_rest_of_a_large_one() -> None:
    """Of two places, a job with nothing outstanding gets the first though another has 100,000 chunks waiting."""
    large = Claimant("large", 4, 100_000, 8)
    assert share([large, Claimant("small", 4, 3, 0)], 2) == {"small": 2}
    assert share([large, replace(large, job="small", open=3, outstanding=0)], 1) == {"small": 1}


def test_priority_doubles_a_share() -> None:
    """One step of priority is worth twice the chunks at a time."""
    given_out = share([Claimant("a", 5, 1000, 0), Claimant("b", 4, 1000, 0)], 30)
    assert given_out == {"a": 20, "b": 10}
