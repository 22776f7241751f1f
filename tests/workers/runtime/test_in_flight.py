"""Two chunks in flight: one finishes in its own thread while the next one is computed; each has its own end."""

from __future__ import annotations

import io
import itertools
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from contract.errors import EnhanceError
from contract.job import Done
from contract.settings import Settings
from testkit.clips import make_film
from testkit.processes import until
from testkit.stepped import Stepped, stepped
from workers.film.share import Share
from workers.runtime.in_flight import Attempt
from workers.runtime.worker import FINISHING, Worker

_SEEDS = itertools.count(400)
_PATIENCE_S = 60.0


class Stage:
    """A gate before each of a chunk's two ends, of network and of storing: it notes who came, and may keep them waiting."""

    def __init__(self, worker: Worker) -> None:
        self.events: list[str] = []
        self.begun: dict[str, threading.Event] = {}
        self.let: dict[str, threading.Event] = {}
        self.faults: dict[str, BaseException] = {}
        self.shares: dict[int, Share] = {}
        self._lock = threading.Lock()
        self._whole = worker._enhance
        worker._enhance = self._enhance  # type: ignore[method-assign]

    def _enhance(self, held: Any, file: Any, chunk: Any, share: Share) -> Generator[None, None, Done]:
        self.shares[chunk.n] = share
        self._pass(f"network {chunk.n}", held.checkpoint)
        done = yield from self._whole(held, file, chunk, share)
        self._pass(f"finish {chunk.n}", lambda: None)
        return done

    def _pass(self, name: str, checkpoint: Callable[[], None]) -> None:
        with self._lock:
            self.events.append(name)
            begun, let = self.begun.setdefault(name, threading.Event()), self.let.get(name)
        begun.set()
        while let is not None and not let.wait(0.01):
            checkpoint()
        if name in self.faults:
            raise self.faults.pop(name)

    def hold(self, *names: str) -> None:
        """Let these parts wait until `go`."""
        for name in names:
            self.let[name] = threading.Event()

    def go(self, *names: str) -> None:
        """Let these parts go on."""
        for name in names:
            with self._lock:
                self.events.append(f"go {name}")
            self.let[name].set()

    def reached(self, name: str) -> None:
        """Wait until a part has begun."""
        with self._lock:
            begun = self.begun.setdefault(name, threading.Event())
        assert begun.wait(_PATIENCE_S), f"{name} did not begin; {self.events}"


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(settings) as made:
        made.worker = Worker(settings, beside=1)
        yield made


@pytest.fixture
def job(cluster: Stepped, tmp_path: Path) -> str:
    """A job of two chunks, both published."""
    return cluster.published(make_film(tmp_path / "film.mp4", 10, seed=next(_SEEDS)), 2)


def working(worker: Worker, job: str, chunk: int) -> tuple[threading.Thread, list[str]]:
    """Let the worker do a message in a thread, as its pool process does; return the thread and where the outcome will be."""
    outcome: list[str] = []
    thread = threading.Thread(target=lambda: outcome.append(worker.work(job, chunk)))
    thread.start()
    return thread, outcome


def idle(worker: Worker) -> None:
    assert worker.idle.wait(_PATIENCE_S)


def test_the_next_chunk_is_computed_while_the_last_one_finishes(cluster: Stepped, job: str) -> None:
    """Both are leased at that moment, the message of the first has ended, and both commits stand."""
    worker, stage = cluster.worker, Stage(cluster.worker)
    stage.hold("finish 0", "network 1")
    assert worker.work(job, 0) == FINISHING
    stage.reached("finish 0")
    thread, outcome = working(worker, job, 1)
    stage.reached("network 1")
    counts = cluster.ledger.counts(job)
    assert counts is not None
    assert (counts.running, counts.done) == (2, 0)
    info = worker._info()
    assert (info["job"], info["chunk"], info["finishing"]) == (
        job,
        "film.mp4 chunk 2/2",
        ["film.mp4 chunk 1/2"],
    )
    stage.go("finish 0", "network 1")
    thread.join(_PATIENCE_S)
    assert outcome == [FINISHING]
    idle(worker)
    assert cluster.finish(job).state == "done"
    assert cluster.ledger.counts(job) is None


def test_chunks_in_flight_are_bounded(cluster: Stepped, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second chunk is not passed on before the first has ended: its message goes on until then."""
    worker, stage = cluster.worker, Stage(cluster.worker)
    whole, passing = worker.in_flight.finish, threading.Event()

    def finish(attempt: Attempt, work: Callable[[], None]) -> None:
        if attempt.held.lease.chunk == 1:
            passing.set()
        whole(attempt, work)

    monkeypatch.setattr(worker.in_flight, "finish", finish)
    stage.hold("finish 0")
    assert worker.work(job, 0) == FINISHING
    thread, outcome = working(worker, job, 1)
    assert passing.wait(_PATIENCE_S)
    first, second = worker.in_flight.attempts()
    assert (first.finisher is not None, second.finisher, outcome) == (True, None, [])
    stage.go("finish 0")
    thread.join(_PATIENCE_S)
    idle(worker)
    assert stage.events.index("go finish 0") < stage.events.index("finish 1")
    assert cluster.finish(job).state == "done"


def test_a_fault_at_the_end_of_one_is_not_the_others(cluster: Stepped, job: str) -> None:
    """The chunk whose end failed is tried again, and the one in the network is committed at its first try."""
    worker, stage = cluster.worker, Stage(cluster.worker)
    stage.hold("finish 0", "network 1")
    stage.faults["finish 0"] = EnhanceError("the encoder returned nothing")
    assert worker.work(job, 0) == FINISHING
    thread, outcome = working(worker, job, 1)
    stage.reached("network 1")
    stage.go("finish 0")
    until(lambda: len(worker.in_flight.attempts()) == 1, "the end of the first chunk", _PATIENCE_S)
    stage.go("network 1")
    thread.join(_PATIENCE_S)
    idle(worker)
    assert outcome == [FINISHING]
    assert [cluster.ledger.tries(job, n) for n in (0, 1)] == [1, 0]
    assert cluster.finish(job).state == "done"


def test_a_fault_in_the_network_leaves_the_finishing_one(cluster: Stepped, job: str) -> None:
    """The other way round: the chunk that finishes is committed while its neighbour fails."""
    worker, stage = cluster.worker, Stage(cluster.worker)
    stage.hold("finish 0")
    stage.faults["network 1"] = EnhanceError("only black comes out")
    assert worker.work(job, 0) == FINISHING
    assert worker.work(job, 1) == "handed back"
    stage.go("finish 0")
    idle(worker)
    assert [cluster.ledger.tries(job, n) for n in (0, 1)] == [0, 1]
    assert cluster.finish(job).state == "done"


def test_a_shutdown_hands_both_back(cluster: Stepped, job: str) -> None:
    """No chunk is still held, none counts as failed, and no object of the attempts is left."""
    worker, stage = cluster.worker, Stage(cluster.worker)
    stage.hold("finish 0", "network 1")
    assert worker.work(job, 0) == FINISHING
    thread, outcome = working(worker, job, 1)
    stage.reached("network 1")
    worker.hand_back()
    counts = cluster.ledger.counts(job)
    assert counts is not None
    assert (counts.running, counts.retried, counts.handed_back) == (0, 0, 2)
    thread.join(_PATIENCE_S)
    stage.go("finish 0")
    idle(worker)
    assert outcome in (["lost"], ["handed back"])  # two threads give it back, and either may be first
    assert [key for key, _ in cluster.storage.list(f"jobs/{job}/chunks/") if "/attempt-" in key] == []
    cluster.worker = Worker(cluster.settings)
    assert cluster.finish(job).state == "done"


def test_a_chunk_that_failed_before_works_alone(cluster: Stepped, job: str) -> None:
    """It may be one that ends its process: it waits for the other's end, and ends in its own task."""
    worker, stage = cluster.worker, Stage(cluster.worker)
    lease = cluster.ledger.claim(job, 1, "somebody")[1]
    assert lease is not None
    cluster.ledger.release(lease, "the worker died", counted=False)
    stage.hold("finish 0")
    assert worker.work(job, 0) == FINISHING
    stage.reached("finish 0")
    thread, outcome = working(worker, job, 1)
    until(lambda: len(worker.in_flight.attempts()) == 2, "the claim of the second chunk", _PATIENCE_S)
    stage.go("finish 0")
    thread.join(_PATIENCE_S)
    assert (outcome, worker.idle.is_set()) == (["done"], True)
    assert (stage.shares[0].threads > 0, stage.shares[1]) == (True, worker._alone)  # half of the cores, and all of them
    assert stage.shares[0].frames is stage.shares[1].frames  # one bound for the memory that is kept
    assert stage.events == ["network 0", "finish 0", "go finish 0", "network 1", "finish 1"]
    assert cluster.finish(job).state == "done"


@pytest.mark.parametrize(("beside", "tried", "threads"), [(0, False, 6), (1, False, 3), (1, True, 6)])
def test_encoders_keep_to_the_threads_of_their_worker(
    beside: int, tried: bool, threads: int, settings: Settings, cluster: Stepped, job: str
) -> None:
    """A worker of four cores gives x264 one and a half threads for each, whether its chunk is alone by setting or as tried before."""
    if tried:
        lease = cluster.ledger.claim(job, 0, "somebody")[1]
        assert lease is not None
        cluster.ledger.release(lease, "the worker died", counted=False)
    cluster.worker = worker = Worker(replace(settings, threads=4), beside)
    stage = Stage(worker)
    worker.work(job, 0)
    idle(worker)
    assert stage.shares[0].threads == threads
    assert cluster.finish(job).state == "done"


def test_an_end_that_hangs_ends_the_process_and_costs_only_its_chunk(
    settings: Settings, cluster: Stepped, job: str
) -> None:
    """No thread can be stopped from outside: past the limit its chunk counts as failed, and the other is handed back."""
    worker = Worker(replace(settings, chunk_soft_limit_s=3.0), beside=1)
    stage, ended = Stage(worker), threading.Event()
    worker.exit = lambda code: ended.set()
    stage.hold("finish 0", "network 1")
    assert worker.work(job, 0) == FINISHING
    first = worker.in_flight.attempts()[0]
    thread, outcome = working(worker, job, 1)
    stage.reached("network 1")
    worker.in_flight.attempts()[1].taken = first.taken + 1e6
    assert ended.wait(_PATIENCE_S)
    thread.join(_PATIENCE_S)
    assert outcome in (["lost"], ["handed back"])  # two threads give it back, and either may be first
    assert [cluster.ledger.tries(job, n) for n in (0, 1)] == [1, 0]
    assert "time limit" in cluster.ledger.reasons(job, 0)[0]
    stage.go("finish 0")
    idle(worker)
    assert cluster.finish(job).state == "done"


def test_with_one_try_a_chunk_none_is_in_flight_beside_another(settings: Settings) -> None:
    """A neighbour that ends the process would cost the chunk its only try."""
    assert Worker(replace(settings, max_attempts=1), beside=1).in_flight.beside == 0


def packets(chunk: bytes) -> list[tuple[int | None, bytes]]:
    """Return ordinals and bytes of a chunk's packets; its container draws a number of its own each time."""
    with av.open(io.BytesIO(chunk)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux() if packet.size]


def test_the_result_is_the_same_bit_for_bit(settings: Settings, tmp_path: Path) -> None:
    """The chunks of a film restored with several in flight are those restored one after another."""
    film, results = (
        make_film(tmp_path / "film.mkv", 24, seed=next(_SEEDS)),
        list[list[list[tuple[int | None, bytes]]]](),
    )
    for beside in (0, 2):
        source = tmp_path / f"{beside}.mkv"
        shutil.copy(film, source)
        with stepped(settings) as cluster:
            cluster.worker = Worker(settings, beside)
            job = cluster.submit([source])
            assert cluster.finish(job).state == "done"
            plan = cluster.records.plan(job)
            assert plan is not None
            commits = sorted(cluster.records.dones(plan, range(len(plan.chunks))), key=lambda done: done.chunk)
            results.append([packets(cluster.storage.get(output.key)) for done in commits for output in done.outputs])
    assert len(results[0]) > 2
    assert results[0] == results[1]
