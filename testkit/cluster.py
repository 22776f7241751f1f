"""An embedded cluster with a cheap job, and the means to injure it and to check its results."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil
from redis import Redis

from contract import keys
from contract.errors import TransientError
from contract.job import Done, Manifest, Spec
from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.jobs.client import Jobs
from orchestrator.local import Cluster, start
from orchestrator.local.state_folder import Process
from orchestrator.submission.submit import submit
from stores.ledger import Ledger
from stores.storage import Storage
from testkit.clips import fingerprint, make_film
from testkit.processes import until

T = TypeVar("T")
SPEC = Spec(model="identity", codec="ffv1", chunk_frames=5, container="mkv")
FAULTS = Path(__file__).parent / "faults"


class Rig:
    """One embedded cluster, with the operations that tests and benchmarks need."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self.cluster, self.settings = cluster, settings
        self.storage = Storage(settings)
        self.ledger = Ledger(settings)
        self.records = Records(self.storage)

    @property
    def jobs(self) -> Jobs:
        """Return the client that reads this cluster's jobs."""
        return Jobs(self.settings)

    def processes(self, role: str) -> list[Process]:
        """List the cluster's processes of `role`."""
        return [p for p in self.cluster.processes if p.role == role]

    def pool_process(self, worker: int) -> psutil.Process | None:
        """Return the process below a worker that computes chunks; None until it has started."""
        try:
            children = psutil.Process(worker).children(recursive=True)
        except psutil.NoSuchProcess:
            return None
        working = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
        return working[-1] if working else None

    def consuming(self) -> int:
        """Count the workers that are waiting for a message from Redis now."""
        with Redis.from_url(self.settings.redis_url) as raw:
            return sum("b" in client["flags"] and client["cmd"] == "brpop" for client in raw.client_list())

    def hurt(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process that may have gone by itself."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    def submit(self, film: Path, spec: Spec = SPEC) -> str:
        """Submit `film` and return the job's id."""
        return self.submit_all([film], spec)

    def submit_all(self, films: Sequence[Path], spec: Spec = SPEC) -> str:
        """Submit several films as one job and return its id."""
        return submit(list(films), spec, self.settings).job.id

    def done(self, job: str) -> int:
        """Count the job's committed chunks; 0 while a server is away."""
        return self.patiently(lambda: self.jobs.status(job).chunks.done) or 0

    def wait_done(self, job: str, chunks: int, seconds: float = 60) -> None:
        """Wait until at least `chunks` chunks of `job` are committed."""
        until(lambda: self.done(job) >= chunks, f"{chunks} chunks of {job}", seconds)

    def finish(self, job: str, seconds: float = 120) -> Manifest:
        """Wait for the job's end and return its manifest."""
        return until(lambda: self.patiently(lambda: self.records.manifest(job)), f"the end of job {job}", seconds)

    @staticmethod
    def patiently(look: Callable[[], T | None]) -> T | None:
        """Return what `look` returns, or None while an injured server is away."""
        try:
            return look()
        except TransientError:
            return None

    def result(self, job: str, folder: Path) -> list[tuple[int, str]]:
        """Fetch the finished film and return its frames as (pts, hash)."""
        (frames,) = self.results(job, folder).values()
        return frames

    def results(self, job: str, folder: Path) -> dict[str, list[tuple[int, str]]]:
        """Fetch all finished films; return the frames of each, as (pts, hash), by its name without its extension."""
        paths = self.jobs.fetch(job, lambda file: folder / file.name)
        return {path.stem: fingerprint(path) for path in paths}

    def commits(self, job: str) -> list[Done]:
        """List the commits of the job's chunks."""
        plan = self.records.plan(job)
        assert plan is not None
        done, _ = self.records.settled(job, plan)  # of a job that failed, some chunks have none
        return list(self.records.dones(plan, (chunk.n for chunk in plan.live if chunk.n in done)))

    def strays(self, job: str) -> list[str]:
        """List the objects of attempts that no commit names."""
        named = {output.key for commit in self.commits(job) for output in commit.outputs}
        prefix = keys.job_prefix(job) + "chunks/"
        return [key for key, _ in self.storage.list(prefix) if "/attempt-" in key and key not in named]

    def attempts(self, job: str) -> int:
        """Count the claims of all chunks, as far as commits record them."""
        return sum(int(commit.attempt.split("-")[0]) for commit in self.commits(job))


def fault_path() -> str:
    """Return a PYTHONPATH that begins with the faults, so that Python loads their sitecustomize."""
    return os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH", ""))))


@contextmanager
def rig(folder: Path, workers: int = 1, fault: str = "", orchestrator: bool = True, **changes: object) -> Iterator[Rig]:
    """Start a cluster in `folder` with short leases; `fault` is a line of testkit/faults, `changes` are settings."""
    settings = replace(Settings(state=folder / "state", lease_ttl_s=4.0, lease_renew_s=1.0, preload=False), **changes)  # type: ignore[arg-type]
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RESPOOL_FAULT")}
    if fault:
        os.environ["PYTHONPATH"] = fault_path()
        os.environ["RESPOOL_FAULT"] = f"{fault}:{folder}"
    try:
        cluster = start(settings, workers=workers, orchestrator=orchestrator)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    with cluster:
        try:
            yield Rig(cluster, replace(cluster.settings, **changes))  # type: ignore[arg-type]
        except BaseException:
            for log in sorted(cluster.folder.logs.glob("*r*.log")):  # orchestrator and workers; pytest shows it
                print(f"== {log.name}", log.read_text(errors="replace")[-4000:], sep="\n")
            raise


@contextmanager
def through(
    servers: Rig, endpoint: str, workers: int, fault: str = "", orchestrator: bool = True, **changes: object
) -> Iterator[Rig]:
    """Start an orchestrator and workers beside another cluster's servers; they reach S3 at `endpoint`."""
    settings = replace(servers.settings, s3_endpoint=endpoint, **changes)  # type: ignore[arg-type]
    environment = {**os.environ, **settings.environment()}
    if fault:
        environment |= {"PYTHONPATH": fault_path(), "RESPOOL_FAULT": f"{fault}:{settings.state}"}
    commands = [command_line(Program.COMMAND_LINE, "orchestrator")] * orchestrator
    commands += [command_line(Program.WORKER)] * workers
    running = [subprocess.Popen(line, env=environment) for line in commands]
    try:
        yield Rig(servers.cluster, settings)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def undisturbed(film: Path) -> list[tuple[int, str]]:
    """Return the frames that every run must give: the source's own, since the job is `identity` into FFV1."""
    return fingerprint(film)


def film(folder: Path, frames: int) -> Path:
    """Return a film of `frames` frames in `folder`; make it if it is not there."""
    path = folder / f"film-{frames}.mp4"
    return path if path.exists() else make_film(path, frames)


def differences(expected: Sequence[tuple[int, str]], found: Sequence[tuple[int, str]]) -> int:
    """Count the frames that are lost, doubled or changed."""
    return abs(len(expected) - len(found)) + sum(a != b for a, b in zip(expected, found, strict=False))
