"""Workers join and leave in mid-job: the output is the same, and no chunk is lost or counted as failed."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import psutil
import pytest

from contract.errors import Unreachable, UsageError
from contract.job import Spec
from contract.settings import Settings
from orchestrator import scaling as scaling
from orchestrator.jobs.client import Jobs
from orchestrator.jobs.job_record import Trail
from orchestrator.local import Cluster, attach, scale, start
from orchestrator.submission.submit import submit
from testkit.processes import until
from workers.runtime.heartbeat import SHUTDOWN

_SPEC = Spec(model="lanczos", scale=3.0, codec="ffv1", chunk_frames=12)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """288 frames in 24 chunks: more than one worker does while three leave."""
    path = tmp_path_factory.mktemp("scale") / "film.mkv"
    noise = np.random.default_rng(5).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(24), options={"g": "12", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for n in range(288):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, n, axis=1), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.fixture
def alone() -> Iterator[Cluster]:
    """An embedded cluster with one worker, of this test's own."""
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        start(Settings(state=Path(folder) / "s", device="cpu"), workers=1) as cluster,
    ):
        yield cluster
        for log in sorted(cluster.folder.logs.glob("*r*.log")):  # pytest shows it when a test failed
            print(f"== {log.name}", log.read_text(errors="replace")[-4000:], sep="\n")


def pids(cluster: Cluster) -> list[int]:
    return [process.pid for process in cluster.processes if process.role == "worker"]


def run(cluster: Cluster, film: Path, spec: Spec, out: Path, during: Callable[[Jobs, str], None]) -> list[str]:
    """Restore `film` into `out`; why attempts ended without a result, as the job's record keeps it. `during` acts on the running job."""
    job = submit([film], spec, cluster.settings).job.id
    jobs = Jobs(cluster.settings)
    during(jobs, job)
    until(lambda: jobs.status(job).state in ("done", "failed"), "the job's end")
    manifest = jobs.manifest(job)
    assert manifest is not None
    assert manifest.state == "done", manifest.failures
    jobs.fetch(job, lambda _: out)
    return [
        why
        for record in Trail(cluster.settings).records(job)
        for c in record.chunks
        for why in (*c.failed_before, *c.handed_back)
    ]


def frames(path: Path) -> list[bytes]:
    """Every frame's pixels."""
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="yuv420p").tobytes() for frame in film.decode(video=0)]


def test_a_cluster_grows_and_shrinks_in_mid_job(alone: Cluster, film: Path, tmp_path: Path) -> None:
    """From one worker to four and back: the frames are the same, and no attempt ended but by being handed back."""

    def resize(jobs: Jobs, job: str) -> None:
        until(lambda: jobs.status(job).chunks.done >= 1, "the first chunk")
        jobs.control(job, paused=True)
        scale(alone.settings, 4)
        assert len(pids(alone)) == 4
        until(lambda: len(jobs.workers()) == 4, "four heartbeats")
        jobs.control(job, paused=False)
        until(lambda: jobs.status(job).chunks.running >= 3, "the newcomers at work")
        status = jobs.status(job)
        assert status.chunks.done < status.chunks.total, "the job ended too early to show anything"
        first = pids(alone)[0]
        scale(alone.settings, 1)
        assert pids(alone) == [first]  # the newest left

    reasons = run(alone, film, _SPEC, tmp_path / "resized.mkv", resize)
    assert any(SHUTDOWN in reason for reason in reasons)
    assert not [reason for reason in reasons if SHUTDOWN not in reason and "The job was paused" not in reason]
    run(alone, film, msgspec.structs.replace(_SPEC, chunk_frames=24), tmp_path / "plain.mkv", lambda jobs, job: None)
    assert frames(tmp_path / "resized.mkv") == frames(tmp_path / "plain.mkv")


def test_a_cluster_shrinks_to_nothing_and_leaves_nobody_behind(alone: Cluster) -> None:
    """Zero workers is a number like any other; processes of those who left are gone, and asking twice is no error."""
    before = [child.pid for pid in pids(alone) for child in (psutil.Process(pid), *psutil.Process(pid).children(True))]
    for _ in range(2):
        scale(alone.settings, 0)
        assert pids(alone) == []
    assert not [
        pid for pid in before if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def test_a_number_out_of_reason_or_a_cluster_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Nothing is started or ended by a wrong number or in the wrong folder."""
    for number in (-1, 257):
        with pytest.raises(UsageError, match="0 to 256"):
            scale(Settings(state=tmp_path / "none"), number)
    with pytest.raises(UsageError, match="respool up"):
        scale(Settings(state=tmp_path / "none"), 2)


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Callable[[], list[str]]]:
    """Put a program on the PATH that notes its arguments and gives a set answer; return a reader of the notes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, body: str) -> Callable[[], list[str]]:
        notes = tmp_path / f"{name}.notes"
        notes.touch()
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n{body}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return lambda: notes.read_text().splitlines()

    return put


Put = Callable[[str, str], Callable[[], list[str]]]


def test_compose_is_asked_to_leave_the_others_alone(scheduler: Put, tmp_path: Path) -> None:
    """Only the workers change; what runs is not made anew."""
    notes = scheduler("docker", "exit 0")
    scaling.Compose((tmp_path / "compose.yaml",)).scale(7)
    assert notes() == [
        f"compose --file {tmp_path}/compose.yaml up --detach --no-deps --no-recreate --scale worker=7 worker"
    ]


def test_kubernetes_holds_the_number_against_its_autoscaler(scheduler: Put) -> None:
    """With KEDA a number is held by its own annotation, and `auto` takes that off; without, the deployment is scaled."""
    keda = 'case "$*" in *api-resources*) echo scaledobjects.keda.sh;; *get*) echo scaledobject.keda.sh/r-worker;; esac'
    notes = scheduler("kubectl", keda)
    cluster = scaling.Kubernetes("archive", "r")
    cluster.scale(5)
    cluster.scale(None)
    held = [line for line in notes() if "annotate" in line]
    assert [line.split()[-1] for line in held] == [
        "autoscaling.keda.sh/paused-replicas=5",
        "autoscaling.keda.sh/paused-replicas-",
    ]
    notes = scheduler("kubectl", "exit 0")
    cluster.scale(5)
    assert notes()[-1] == "--namespace archive scale deployment/r-worker --replicas=5"
    with pytest.raises(UsageError, match="no autoscaler"):
        cluster.scale(None)


def test_slurm_grows_by_an_array_and_shrinks_by_the_newest(scheduler: Put, tmp_path: Path) -> None:
    """Waiting tasks go before running ones, new before old; growing asks for the difference alone."""
    scheduler("squeue", "printf '7_0|RUNNING|2026-01-01|0\\n7_1|RUNNING|2026-01-01|1\\n9_0|PENDING|2026-01-02|0\\n'")
    more, fewer = scheduler("sbatch", "exit 0"), scheduler("scancel", "exit 0")
    cluster = scaling.Slurm(tmp_path / "worker.sbatch")
    cluster.scale(5)
    assert more() == [f"--parsable --job-name=respool-worker --array=0-1 {tmp_path}/worker.sbatch"]
    cluster.scale(1)
    assert fewer() == ["7_1 9_0"]
    cluster.scale(3)
    assert (len(more()), len(fewer())) == (1, 1)


def test_a_scheduler_that_refuses_is_quoted(scheduler: Put, tmp_path: Path) -> None:
    """The scheduler's own last output is part of the error; a scheduler that is not installed is reported as missing."""
    scheduler("docker", "echo no such service >&2; exit 14")
    with pytest.raises(Unreachable, match=r"ended with 14: no such service"):
        scaling.Compose((tmp_path / "c.yaml",)).scale(2)
    with pytest.raises(UsageError, match="0 to"):
        scaling.check(10**9)


def test_a_cluster_that_is_ending_cannot_be_scaled(alone: Cluster) -> None:
    """After its end the folder is empty again, the wish for workers too."""
    scale(alone.settings, 0)
    assert alone.folder.wanted.exists()
    alone.release()
    assert not alone.folder.wanted.exists()
    assert attach(alone.settings) is None
