"""Every call of a job's life, one by one: the scenarios, and the trials of all points of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from redis import Redis

from contract.settings import Settings
from orchestrator.jobs import retention
from orchestrator.jobs.client import Jobs
from orchestrator.sandbox import parent
from orchestrator.submission.submit import Draft, draft
from stores import commit_copies
from stores.storage import Storage
from testkit.call_faults import Calls, Mode, Point, disturbed
from testkit.clips import make_film
from testkit.memory_s3 import MemoryS3
from testkit.stepped import SPEC
from testkit.trial import Trial
from testkit.verdict import judge


@dataclass(frozen=True)
class Material:
    """Films to submit, and by the name of each result its source."""

    draft: Draft
    sources: dict[str, Path]


Scenario = Callable[[Trial, Material], None]


def life(trial: Trial, material: Material) -> None:
    """Submit, plan, commit, assemble, close."""
    trial.from_here = True
    trial.submit(material.draft)
    trial.rest()


def copied(trial: Trial, material: Material) -> None:
    """Live as a job so large that its commits are copied to the commit log."""
    with patch.object(commit_copies, "LEAST_CHUNKS", 1):
        life(trial, material)


def refused(trial: Trial, material: Material) -> None:
    """Retry a job whose first film was refused at ingest; its plan is extended."""
    trial.acts.refusals = {0: "refused by the trial"}
    trial.submit(material.draft)
    trial.rest()
    trial.acts.refusals = {}
    trial.from_here = True
    trial.command(lambda: Jobs(trial.settings).retry(trial.job))
    trial.rest()


def set_aside(trial: Trial, material: Material) -> None:
    """Set a chunk aside that always fails, end the job, and retry when it can be done."""
    trial.poison = {1}
    trial.submit(material.draft)
    trial.look(0)
    trial.from_here = True
    trial.rest()
    trial.poison = set()
    trial.command(lambda: Jobs(trial.settings).retry(trial.job))
    trial.rest()


def _begun(trial: Trial, material: Material) -> None:
    """Bring a job so far that one chunk is done and another is announced."""
    trial.submit(material.draft)
    while not trial.messages.waiting_ones:
        trial.look(0)
    job, chunk = trial.messages.waiting_ones.popleft()
    trial.workers[0].work(job, chunk)
    trial.from_here = True


def cancelled(trial: Trial, material: Material) -> None:
    """Cancel a running job, and open it again."""
    _begun(trial, material)
    trial.command(lambda: Jobs(trial.settings).control(trial.job, cancelled=True))
    trial.rest()
    trial.command(lambda: Jobs(trial.settings).retry(trial.job))
    trial.rest()


def paused(trial: Trial, material: Material) -> None:
    """Pause a running job and resume it."""
    _begun(trial, material)
    trial.command(lambda: Jobs(trial.settings).control(trial.job, paused=True))
    trial.rest()
    trial.command(lambda: Jobs(trial.settings).control(trial.job, paused=False))
    trial.rest()


def forgotten(trial: Trial, material: Material) -> None:
    """Redis loses everything in the middle of a job."""
    _begun(trial, material)
    trial._redis.flushdb()
    trial.rest()


def collect(trial: Trial, results: bool) -> None:
    """Remove what gc finds of ended jobs, however young; with `results` also these."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for sweep in list(retention.find(trial.storage, timedelta(0), results, tomorrow)):
        retention.remove(trial.storage, sweep)


def collected(trial: Trial, material: Material) -> None:
    """Collect a failed job's sources and chunks, submit the same files and retry."""
    trial.acts.refusals = {0: "refused by the trial"}
    trial.submit(material.draft)
    trial.rest()
    trial.acts.refusals = {}
    trial.from_here = True
    trial.command(lambda: collect(trial, False))
    trial.submit(material.draft)
    trial.command(lambda: Jobs(trial.settings).retry(trial.job))
    trial.rest()


def removed(trial: Trial, material: Material) -> None:
    """Remove all of a finished job, and submit the same files."""
    trial.submit(material.draft)
    trial.rest()
    trial.from_here = True
    trial.command(lambda: collect(trial, True))
    trial.submit(material.draft)
    trial.rest()


def lost(trial: Trial, material: Material) -> None:
    """Assemble a job one of whose committed objects is gone, and retry."""
    _begun(trial, material)
    trial.from_here = False
    plan = trial.records.plan(trial.job)
    assert plan is not None
    done, _ = trial.records.settled(trial.job, plan)
    (output,) = trial.records.done(trial.job, plan.chunks[min(done)]).outputs
    trial.storage.delete(output.key)
    trial.from_here = True
    trial.rest()
    trial.command(lambda: Jobs(trial.settings).retry(trial.job))
    trial.rest()


SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "life": (life, 1),
    "copied": (copied, 1),
    "refused": (refused, 2),
    "set aside": (set_aside, 1),
    "cancelled": (cancelled, 1),
    "paused": (paused, 1),
    "forgotten": (forgotten, 1),
    "collected": (collected, 2),
    "removed": (removed, 1),
    "lost": (lost, 1),
}
"""Scenarios with the number of their films."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one trial: `wrong` lists each deviation, `stuck` is True for a job that did not end."""

    scenario: str
    orchestrators: int
    point: Point | None
    number: int
    mode: Mode
    wrong: tuple[str, ...] = ()
    stuck: bool = False


class Laboratory:
    """Trials over one Redis, and over S3 in memory or, with `real`, the server that `settings` name."""

    def __init__(self, settings: Settings, folder: Path, real: bool = False) -> None:
        self._settings = replace(settings, max_attempts=2, preload=False)
        self._memory = None if real else MemoryS3()
        self._materials: dict[int, Material] = {}
        self._folder = folder
        self._calls = Calls()

    @contextmanager
    def open(self) -> Iterator[Laboratory]:
        """Send all calls of this process through the laboratory."""
        with ExitStack() as stack:
            stack.enter_context(disturbed(lambda: self._calls, self._memory))
            stack.enter_context(patch.object(parent, "_pause", lambda *_: None))
            yield self

    def _material(self, films: int) -> Material:
        if films not in self._materials:
            paths = [make_film(self._folder / f"film{n}.mp4", 6, (48, 32), gop=3, seed=n) for n in range(films)]
            made = draft(paths, SPEC, self._settings)
            sources = {item.result: path for item, path in zip(made.items, paths, strict=True)}
            self._materials[films] = Material(made, sources)
        return self._materials[films]

    def _empty(self) -> None:
        with Redis.from_url(self._settings.redis_url) as client:
            client.flushdb()
        if self._memory is not None:
            self._memory.objects.clear()
            return
        storage = Storage(self._settings)
        for key, _ in list(storage.list("")):
            storage.delete(key)

    def begin(self, films: int, orchestrators: int, calls: Calls | None = None) -> tuple[Trial, Material]:
        """Return a new trial on an empty store and Redis, and its material."""
        material = self._material(films)
        self._calls = Calls()
        self._empty()
        self._calls = calls or Calls()
        return Trial(self._settings, self._calls, orchestrators), material

    def trial(self, name: str, orchestrators: int, at: int = -1, mode: Mode = "before") -> Outcome:
        """Run a scenario with the call of number `at` disturbed by `mode`."""
        scenario, films = SCENARIOS[name]
        trial, material = self.begin(films, orchestrators, Calls(at, mode))
        calls = trial.calls
        wrong: list[str] = []
        stuck = False
        try:
            scenario(trial, material)
            wrong = judge(trial, material.sources)
        except Exception as error:
            stuck = type(error).__name__ == "Stuck"
            wrong = [f"{type(error).__name__}: {error}"]
        finally:
            calls.goes_on.set()
            trial.close()
        point = calls.points[at] if 0 <= at < len(calls.points) else None
        return Outcome(name, orchestrators, point, at, mode, tuple(wrong), stuck)

    def points(self, name: str, orchestrators: int) -> Sequence[Point]:
        """Return every call of an undisturbed run, which must be right."""
        outcome = self.trial(name, orchestrators)
        if outcome.wrong:
            raise AssertionError(f"{name} is wrong without a fault: {outcome.wrong}")
        return tuple(self._calls.points)

    def all(self, name: str, orchestrators: int, every: int = 1, offset: int = 0) -> Iterator[Outcome]:
        """Disturb every call in every way, or every n-th of these."""
        ways = [(n, mode) for n, point in enumerate(self.points(name, orchestrators)) for mode in point.modes]
        for number, mode in ways[offset % every :: every]:
            yield self.trial(name, orchestrators, number, mode)
