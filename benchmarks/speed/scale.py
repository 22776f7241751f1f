"""Simulated scale: real orchestrator, Redis, S3, broker and task code; only the enhancing is a sleep.

    python -m benchmarks.speed.scale --chunks 100000 --workers 64 --churn 0.1            no-op chunks: cost of orchestration
    python -m benchmarks.speed.scale --chunks 2000 --workers 64 --seconds 5 10            parallel efficiency

A simulated worker is a thread that takes real messages and runs the real `workers.runtime.worker.Worker` on them: claim, look
for a commit, (sleep), conditional PUT, ledger. `--churn` is the share of chunks whose worker vanishes without notice.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import psutil
from celery import Celery
from kombu.exceptions import OperationalError

from benchmarks.reliability import page
from contract import keys, tasks
from contract.documents import encode
from contract.job import Chunk, Done, Item, Job, Plan, Spec, job_id
from contract.settings import Settings, load
from orchestrator.job_store import Records
from orchestrator.local import start
from stores.ledger import Lease, Ledger
from stores.storage import Storage
from testkit.cluster import until
from testkit.programs import command_of
from workers.runtime import worker as worker_module
from workers.runtime.job_cache import JobFile
from workers.runtime.worker import Worker


class Vanished(BaseException):
    """Raised when the simulated worker vanishes: none of its code may run any more."""


class Simulated(Worker):
    """A worker whose network is a sleep and that may vanish while it holds a lease."""

    files: ClassVar[OrderedDict[str, JobFile]] = OrderedDict()
    """Documents that every worker reads at its start, held once per process: 100,000 chunks are 10 MB to fetch, 28 to hold."""

    def __init__(self, settings: Settings, name: str, seconds: tuple[float, float], churn: float, seed: int) -> None:
        super().__init__(settings)
        self.name = self.heartbeat._worker = name
        self.cache._jobs = self.files
        self._seconds, self._churn, self._rng = seconds, churn, random.Random(seed)
        self._clock = threading.Event()

    def _enhance(self, lease: Lease, file: JobFile, chunk: Chunk) -> Done:
        del file
        self._clock.wait(self._rng.uniform(*self._seconds))
        if self._rng.random() < self._churn:
            raise Vanished
        return Done(chunk.n, lease.attempt, self.name, chunk.count, ())


def work(settings: Settings, name: str, seconds: tuple[float, float], churn: float, seed: int) -> None:
    """Take messages for ever; a worker that vanishes returns under another name, and its lease runs out."""
    app = Celery("simulated", broker=settings.broker)
    life = 0
    while True:
        worker = Simulated(settings, f"{name}.{life}", seconds, churn, seed + life)
        worker.heartbeat.start()
        with app.connection_for_read() as connection, connection.SimpleQueue(tasks.QUEUE) as queue:
            try:
                while True:
                    message = queue.get(block=True)
                    message.ack()
                    ring = tasks.from_message(message.payload[0][0])
                    worker.work(ring.job, ring.chunk)
            except Vanished:
                worker.heartbeat._ended = True
            except OperationalError:
                return  # the cluster ended
        life += 1


def crowd(options: argparse.Namespace) -> None:
    """Run one process full of simulated workers."""
    settings, own = load(), threading.local()

    def kept(known: Settings) -> Storage:
        """Return the thread's own connection to S3: boto3's start (0.13 s) belongs to a worker's start, not to orchestration."""
        if not hasattr(own, "storage"):
            own.storage = Storage(known)
        return own.storage

    worker_module.Storage = kept
    for n in range(options.crowd):
        args = (settings, f"sim{options.seed}-{n}", tuple(options.seconds), options.churn, options.seed * 1000 + n)
        threading.Thread(target=work, args=args, daemon=True).start()
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
    until(lambda: (c := ledger.counts(large)) is not None and c.done > 0, 600, "the large job's first chunk")
    began, small = time.monotonic(), submit_plain(settings, 8, "small")

    def begun() -> bool:
        counts = ledger.counts(small)
        return counts is not None and counts.running + counts.done > 0

    until(begun, 600, "the small job's first chunk")
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
        base = replace(Settings(state=Path(name)), max_attempts=50)
        with start(base, workers=0) as cluster:
            settings = replace(cluster.settings, max_attempts=50)
            crowds = [
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
                ledger = Ledger(settings)
                until(lambda: len(ledger.workers()) >= options.workers, 120, "simulated workers")
                roles = {p.role: [psutil.Process(p.pid)] for p in cluster.processes}
                roles["task code"] = [psutil.Process(p.pid) for p in crowds]
                before = cpu(roles)
                began = time.monotonic()
                job = submit_plain(settings, options.chunks)
                records = Records(Storage(settings))
                behind = first_chunk(settings, ledger, job)
                settled = until(
                    lambda: (c := ledger.counts(job)) is not None and c.settled and time.monotonic(), 7200, "all chunks"
                )
                manifest = until(lambda: records.manifest(job), 3600, "the manifest")
                after = cpu(roles)
                memory = {role: max(p.memory_info().rss for p in found) / 2**20 for role, found in roles.items()}
            finally:
                for process in crowds:
                    process.kill()
                    process.wait()
    wall, ended = settled - began, time.monotonic() - began
    spent = {role: after[role] - before[role] for role in before}
    ideal = options.chunks * (sum(options.seconds) / 2) / options.workers
    print(f"{options.chunks} chunks, {options.workers} workers, churn {options.churn:.0%}: {manifest.state}")
    print(f"all chunks after {wall:.1f} s, manifest after {ended:.1f} s")
    if ideal:
        print(f"parallel efficiency {ideal / wall:.3f} (ideal {ideal:.1f} s)")
    print(f"a small job submitted meanwhile had its first chunk in hand after {behind:.1f} s")
    print(f"CPU a chunk, all processes: {1000 * sum(spent.values()) / options.chunks:.2f} ms")
    for role in spent:
        print(f"  {role:<14} {1000 * spent[role] / options.chunks:7.2f} ms a chunk   {memory[role]:7.1f} MiB")
    if options.page:
        each = "none" if not ideal else "-".join(f"{seconds:g}" for seconds in options.seconds)
        cells = [f"{options.chunks:,}", options.workers, each, f"{options.churn:.0%}", manifest.state, f"{wall:.0f}"]
        cells += [f"{ideal / wall:.3f}" if ideal else "-", f"{1000 * sum(spent.values()) / options.chunks:.1f}"]
        cells += [", ".join(f"{role} {1000 * seconds / options.chunks:.1f}" for role, seconds in spent.items())]
        cells += [
            f"{behind:.1f}",
            f"{memory['redis']:.0f}",
            f"{memory['orchestrator']:.0f}",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        ]
        page.write(options.page, f"| {' | '.join(map(str, cells))} |", page.SCALE, key=4)
    return 0


if __name__ == "__main__":
    sys.exit(main())
