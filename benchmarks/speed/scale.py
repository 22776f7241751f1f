"""Simulated scale: real orchestrator, Redis, S3, broker and task code; only the enhancing is a sleep.

    python -m benchmarks.speed.scale --chunks 100000 --workers 64 --churn 0.1            no-op chunks: cost of orchestration
    python -m benchmarks.speed.scale --chunks 2000 --workers 64 --seconds 5 10            parallel efficiency
    python -m benchmarks.speed.scale --chunks 20000 --workers 1000 --seconds 5 10 --processes 4

A simulated worker is a thread that takes real messages and runs the real `workers.runtime.worker.Worker` on them: claim, look
for a commit, (sleep), conditional PUT, ledger. `--churn` is the share of chunks whose worker vanishes without notice.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

import psutil
from celery import Celery
from kombu.exceptions import OperationalError

from benchmarks.reliability import page
from contract import keys, tasks
from contract.documents import VERSION, encode
from contract.job import Chunk, Done, Item, Job, Plan, Spec
from contract.job_ids import job_id
from contract.settings import Settings, load
from orchestrator.job_store import Records
from orchestrator.local import Cluster, start
from stores.ledger import Ledger
from stores.storage import Storage
from testkit.processes import until
from testkit.programs import command_of
from workers.film.share import Share
from workers.runtime import worker as worker_module
from workers.runtime.heartbeat import HeldLease
from workers.runtime.job_cache import JobFile
from workers.runtime.worker import Worker


class Vanished(BaseException):
    """Raised when the simulated worker vanishes: none of its code may run any more."""


class Simulated(Worker):
    """A worker whose network is a sleep and that may vanish while it holds a lease."""

    files: ClassVar[OrderedDict[str, tuple[str, JobFile]]] = OrderedDict()
    """Documents that every worker reads at its start, held once per process: 100,000 chunks are 10 MB to fetch, 28 to hold."""

    def __init__(self, settings: Settings, name: str, seconds: tuple[float, float], churn: float, seed: int) -> None:
        super().__init__(settings)
        self.name = self.heartbeat._worker = name
        self.cache._jobs = self.files
        self._seconds, self._churn, self._rng = seconds, churn, random.Random(seed)
        self._clock = threading.Event()

    def _enhance(self, held: HeldLease, file: JobFile, chunk: Chunk, share: Share) -> Generator[None, None, Done]:
        del file, share
        self._clock.wait(self._rng.uniform(*self._seconds))
        if self._rng.random() < self._churn:
            raise Vanished
        yield
        return Done(chunk.n, held.lease.attempt, self.name, chunk.count, ())


class Messages:
    """The broker's messages for the simulated workers of a process.

    They share a connection: an idle one asks the broker once a second, and a thousand of those would be most of what is measured.
    """

    def __init__(self) -> None:
        self._idle, self._taken = threading.Semaphore(0), SimpleQueue[tasks.ChunkMessage]()

    def take(self, settings: Settings) -> None:
        """Take a message for each worker that is idle, until the cluster ends."""
        app = Celery("simulated", broker=settings.broker)
        with app.connection_for_read() as connection, connection.SimpleQueue(tasks.queue(VERSION)) as broker:
            while True:
                self._idle.acquire()
                try:
                    message = broker.get(block=True)
                except OperationalError:
                    return  # the cluster ended
                message.ack()
                self._taken.put(tasks.from_message(message.payload[0][0]))

    def next(self) -> tasks.ChunkMessage:
        """Wait for a message, as an idle worker."""
        self._idle.release()
        return self._taken.get()


def work(
    settings: Settings, messages: Messages, name: str, seconds: tuple[float, float], churn: float, seed: int
) -> None:
    """Do messages for ever; a worker that vanishes returns under another name, and its lease runs out."""
    for life in itertools.count():
        worker = Simulated(settings, f"{name}.{life}", seconds, churn, seed + life)
        worker.heartbeat.start()
        try:
            while True:
                chunk = messages.next()
                worker.work(chunk.job, chunk.chunk)
        except Vanished:
            worker.heartbeat._ended = True


def crowd(options: argparse.Namespace) -> None:
    """Run one process full of simulated workers."""
    settings, messages = load(), Messages()
    storage = Storage(settings)  # boto3's start (0.18 s) belongs to a worker's start, not to orchestration
    vars(worker_module)["Storage"] = lambda _: storage
    for n in range(options.crowd):
        how = tuple(options.seconds), options.churn, options.seed * 1000 + n
        args = (settings, messages, f"sim{options.seed}-{n}", *how)
        threading.Thread(target=work, args=args, daemon=True).start()
    threading.Thread(target=messages.take, args=(settings,), daemon=True).start()
    sys.stdin.read()  # until the bench ends


def submit_plain(settings: Settings, chunks: int, name: str = "simulated") -> str:
    """Submit a planned job of `chunks` chunks that need no input."""
    item = Item(0, "image", name, name, "0" * 64, 0)
    spec = Spec(model="identity", chunk_frames=int(time.time()))
    job = Job(job_id(spec, (item,)), spec, (item,), datetime.now(UTC).isoformat())
    storage = Storage(settings)
    plan = Plan(job.id, tuple(Chunk(n, "image", 0, 0, 1, f"simulated {n}") for n in range(chunks)))
    storage.put(keys.plan(job.id), encode(plan))
    storage.put(keys.job_spec(job.id), encode(job))
    Ledger(settings).announce_job(job.id)
    return job.id


def first_chunk(settings: Settings, ledger: Ledger, large: str) -> float:
    """Measure the seconds until a worker holds the first chunk of a small job that is submitted beside a large one."""
    until(lambda: (c := ledger.counts(large)) is not None and c.done > 0, "the large job's first chunk", 600)
    began, small = time.monotonic(), submit_plain(settings, 8, "small")

    def begun() -> bool:
        counts = ledger.counts(small)
        return counts is not None and counts.running + counts.done > 0

    until(begun, "the small job's first chunk", 600)
    return time.monotonic() - began


def cpu(processes: dict[str, list[psutil.Process]]) -> dict[str, float]:
    """Sum CPU seconds by role, with all children, ended or not: ingest and assembly run in children."""

    def spent(process: psutil.Process) -> float:
        try:
            return sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            return 0.0  # it just ended, and its parent's own figure includes it

    return {
        role: sum(spent(p) for m in members if m.is_running() for p in (m, *m.children(recursive=True)))
        for role, members in processes.items()
    }


@dataclass(frozen=True)
class Cost:
    """Times of one simulation in seconds: to the last chunk, to the manifest, and to a small job's first chunk."""

    state: str
    wall: float
    ended: float
    behind: float
    spent: dict[str, float]
    memory: dict[str, float]


def main() -> int:
    """Run one simulation and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, nargs=2, default=[0.0, 0.0], help="a chunk takes between these")
    parser.add_argument("--churn", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="processes that the simulated workers share")
    parser.add_argument("--page", type=Path, nargs="?", const=Path("docs/reliability.md"), help="write a row there")
    parser.add_argument("--crowd", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crowd:
        crowd(options)
        return 0
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        # All simulated workers have this machine's cores together, so that many of them cannot each report every second.
        fields = {"max_attempts": 50, "lease_renew_s": max(Settings.lease_renew_s, options.workers / 100)}
        with start(replace(Settings(state=Path(name)), **fields), workers=0) as cluster:
            cost = simulate(cluster, replace(cluster.settings, **fields), options)
    report(cost, options)
    return 0


@contextmanager
def crowds(settings: Settings, options: argparse.Namespace) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run processes full of simulated workers; end them afterwards."""
    running = [
        subprocess.Popen(
            command_of(
                __spec__,
                *("--crowd", options.workers // options.processes),
                *("--seed", options.seed + n, "--churn", options.churn),
                *("--seconds", *options.seconds),
            ),
            env={**psutil.Process().environ(), **settings.environment()},
            stdin=subprocess.PIPE,
        )
        for n in range(options.processes)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def simulate(cluster: Cluster, settings: Settings, options: argparse.Namespace) -> Cost:
    """Run one job on simulated workers, and a small one beside it."""
    ledger, records = Ledger(settings), Records(Storage(settings))
    with crowds(settings, options) as running:
        until(lambda: len(ledger.workers()) >= options.workers, "simulated workers", 600)
        roles = {p.role: [psutil.Process(p.pid)] for p in cluster.processes}
        roles["task code"] = [psutil.Process(p.pid) for p in running]
        before = cpu(roles)
        began = time.monotonic()
        job = submit_plain(settings, options.chunks)
        behind = first_chunk(settings, ledger, job)
        until(lambda: (c := ledger.counts(job)) is not None and c.settled, "all chunks", 7200)
        wall = time.monotonic() - began
        manifest = until(lambda: records.manifest(job), "the manifest", 3600)
        assert manifest is not None
        ended = time.monotonic() - began
        after = cpu(roles)
        memory = {role: max(p.memory_info().rss for p in found) / 2**20 for role, found in roles.items()}
    spent = {role: after[role] - before[role] for role in before}
    return Cost(manifest.state, wall, ended, behind, spent, memory)


def report(cost: Cost, options: argparse.Namespace) -> None:
    """Print what a simulation cost, and write its row where the options ask for it."""
    ideal = options.chunks * (sum(options.seconds) / 2) / options.workers
    each = {role: 1000 * seconds / options.chunks for role, seconds in cost.spent.items()}
    print(f"{options.chunks} chunks, {options.workers} workers, churn {options.churn:.0%}: {cost.state}")
    print(f"all chunks after {cost.wall:.1f} s, manifest after {cost.ended:.1f} s")
    if ideal:
        print(f"parallel efficiency {ideal / cost.wall:.3f} (ideal {ideal:.1f} s)")
    print(f"a small job submitted meanwhile had its first chunk in hand after {cost.behind:.1f} s")
    print(f"CPU a chunk, all processes: {sum(each.values()):.2f} ms")
    for role, milliseconds in each.items():
        print(f"  {role:<14} {milliseconds:7.2f} ms a chunk   {cost.memory[role]:7.1f} MiB")
    if options.page:
        takes = "-".join(f"{seconds:g}" for seconds in options.seconds) if ideal else "none"
        cells = [f"{options.chunks:,}", options.workers, takes, f"{options.churn:.0%}", cost.state, f"{cost.wall:.0f}"]
        cells += [f"{ideal / cost.wall:.3f}" if ideal else "-", f"{sum(each.values()):.1f}"]
        cells += [", ".join(f"{role} {milliseconds:.1f}" for role, milliseconds in each.items())]
        cells += [f"{cost.behind:.1f}", f"{cost.memory['redis']:.0f}", f"{cost.memory['orchestrator']:.0f}"]
        cells += [f"{datetime.now(UTC):%Y-%m-%d %H:%M}"]
        page.write(options.page, f"| {' | '.join(map(str, cells))} |", page.SCALE, key=4)


if __name__ == "__main__":
    sys.exit(main())
