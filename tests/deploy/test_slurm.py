"""Respool's workers under a real Slurm: an array that grows and shrinks, preemption, and the end of a time limit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import cv2
import msgspec
import numpy as np
import pytest
import skimage.data

from contract import keys
from contract.job import Spec
from contract.programs import Program, command_line
from contract.settings import Settings
from contract.training import Commit, Progress, Record
from orchestrator.jobs.client import Jobs
from orchestrator.jobs.job_record import Trail
from orchestrator.local.servers import free_ports
from orchestrator.scaling import Slurm
from orchestrator.submission.submit import submit
from stores.ledger import Counts, Ledger
from stores.storage import Storage
from testkit.processes import running, until
from workers.runtime.heartbeat import SHUTDOWN

ROOT = Path(__file__).parents[2]
Document = TypeVar("Document")


@dataclass
class Cluster:
    """One node with two places and two partitions, of which `urgent` takes places from `spare`."""

    folder: Path
    environ: dict[str, str]

    def call(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (argv, done.stderr)
        return done.stdout.strip()

    def script(self, name: str = "worker", cpus: int = 8, memory: str = "24G", job: str = "%A_%a") -> Path:
        """A script of deploy/slurm for this node: no GPU, small, its log here."""
        text = (ROOT / f"deploy/slurm/{name}.sbatch").read_text()
        for old, new in (
            (f"#SBATCH --cpus-per-task={cpus}", "#SBATCH --cpus-per-task=1"),
            (f"#SBATCH --mem={memory}", "#SBATCH --partition=spare"),
            ("#SBATCH --gres=gpu:1\n", ""),
            (f"respool-{name}-{job}.log", f"{self.folder}/{name}-{job}.log"),
            ("${RESPOOL_ENV:-$HOME/.config/respool/respool.env}", str(self.folder / "respool.env")),
        ):
            assert old in text
            text = text.replace(old, new)
        script = self.folder / f"{name}.sbatch"
        script.write_text(text)
        return script


@pytest.fixture
def slurm(need: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    if os.getuid() != 0 and not os.environ.get("CI"):
        pytest.skip("slurmd wants to be root")
    programs = {name: need(name) for name in ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")}
    host = os.uname().nodename.split(".")[0]
    with tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        control, node = free_ports(2)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        socket = folder / "munge.socket"
        conf = folder / "slurm.conf"
        conf.write_text(
            f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n"
            f"SlurmctldPort={control}\nSlurmdPort={node}\nAuthType=auth/munge\nAuthInfo=socket={socket}\n"
            f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n"
            f"SlurmctldPidFile={folder}/ctld.pid\nSlurmdPidFile={folder}/slurmd.pid\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\nMpiDefault=none\n"
            "ReturnToService=2\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\n"
            "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\nKillWait=30\nSchedulerTimeSlice=5\n"
            "SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1\nSlurmdParameters=config_overrides\n"
            "MessageTimeout=30\nAccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n"
            f"NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n"
            f"PartitionName=spare Nodes={host} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20\n"
            f"PartitionName=urgent Nodes={host} PriorityTier=10 PreemptMode=OFF\n"
        )
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        environ = {**os.environ, "SLURM_CONF": str(conf)}
        monkeypatch.setenv("SLURM_CONF", str(conf))
        munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={socket}", f"--seed-file={folder}/seed"]
        munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log"]
        stack.enter_context(running([programs["munged"], *munge], folder / "munge.out", environ))
        until(socket.exists, "munged")
        stack.enter_context(running([programs["slurmctld"], "-D", "-f", str(conf)], folder / "ctld.log", environ))
        stack.enter_context(
            running([programs["slurmd"], "-D", "-N", host, "-f", str(conf)], folder / "slurmd.log", environ)
        )
        made = Cluster(folder, environ)

        def idle() -> bool:
            done = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environ, capture_output=True, text=True, check=False)
            return "idle" in done.stdout

        until(idle, f"the node; {(folder / 'ctld.log').read_text()[-500:]}")
        try:
            yield made
        finally:
            subprocess.run(["scancel", "--full", "--signal=KILL", "--me"], env=environ, check=False)
            subprocess.run(["scancel", "--me"], env=environ, check=False)
            for log in folder.glob("*.log"):  # pytest shows it when a test failed
                print(f"== {log.name}", log.read_text(errors="replace")[-3000:], sep="\n")


def tasks(cluster: Cluster) -> dict[str, str]:
    """State of each task of the workers' arrays."""
    lines = cluster.call(
        "squeue", "--me", "--array", "--noheader", "--name=respool-worker", "--format=%i %T"
    ).splitlines()
    return dict(line.split() for line in lines)


def test_workers_of_an_array_are_preempted_and_the_job_is_right(
    slurm: Cluster, settings: Settings, tmp_path: Path
) -> None:
    """Two workers, one of them taken away by an urgent job in mid-chunk: it hands its chunk back and queues again."""
    wired = replace(settings, device="cpu", threads=1)
    values = {**wired.environment(), "RESPOOL_COMMAND": str(Path(sys.executable).with_name("respool"))}
    (slurm.folder / "respool.env").write_text("".join(f"export {k}='{v}'\n" for k, v in values.items() if v))
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(24), options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        noise = np.random.default_rng(5).integers(0, 255, (96, 160, 3), dtype=np.uint8)
        for n in range(144):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(noise, n, axis=1), format="rgb24")))
        out.mux(stream.encode())
    scheduler = Slurm(slurm.script())
    orchestrator = command_line(Program.COMMAND_LINE, "orchestrator")
    with running(orchestrator, tmp_path / "orchestrator.log", {**os.environ, **wired.environment()}):
        scheduler.scale(2)
        jobs, ledger = Jobs(wired), Ledger(wired)
        until(lambda: len(jobs.workers()) == 2, f"two workers; {list(slurm.folder.glob('*.log'))}", 120)
        job = submit([film], Spec(model="lanczos", scale=3.0, codec="ffv1", chunk_frames=12), wired).job.id
        until(lambda: (ledger.counts(job) or _NOTHING).running == 2, "both at work")
        slurm.call("sbatch", "--partition=urgent", "--cpus-per-task=1", "--output=/dev/null", "--wrap=sleep 600")
        until(lambda: "RUNNING" in slurm.call("squeue", "-h", "-p", "urgent", "-o", "%T"), "the urgent job", 120)
        until(lambda: sorted(tasks(slurm).values()) == ["PENDING", "RUNNING"], "the other worker to queue again")
        assert len(scheduler.tasks()) == 2
        until(lambda: jobs.status(job).state in ("done", "failed"), "the job's end")
        status = jobs.status(job)
        assert (status.state, status.chunks.done) == ("done", status.chunks.total)
        before = [
            why
            for record in Trail(wired).records(job)
            for c in record.chunks
            for why in (*c.failed_before, *c.handed_back)
        ]
        assert before
        assert not [why for why in before if SHUTDOWN not in why]  # nobody died with a lease
        scheduler.scale(0)
        until(lambda: not tasks(slurm) and not jobs.workers(), "the workers to leave")


def test_a_worker_whose_time_is_over_queues_itself_again(slurm: Cluster, settings: Settings) -> None:
    """The signal that Slurm sends before the end of the time makes the script end its worker and requeue the task."""
    wired = replace(settings, device="cpu", threads=1)
    values = {**wired.environment(), "RESPOOL_COMMAND": str(Path(sys.executable).with_name("respool"))}
    (slurm.folder / "respool.env").write_text("".join(f"export {k}='{v}'\n" for k, v in values.items() if v))
    scheduler = Slurm(slurm.script())
    scheduler.scale(1)
    ledger = Ledger(wired)
    until(lambda: len(ledger.workers()) == 1, "the worker", 120)
    (task,) = tasks(slurm)
    slurm.call("scancel", "--batch", "--signal=USR1", task)  # what --signal=B:USR1@120 does two minutes before the end
    until(lambda: not ledger.workers(), "the worker to leave")
    until(lambda: tasks(slurm).get(task) in ("PENDING", "CONFIGURING", "RUNNING"), "the task in the queue again")
    assert "Restarts=1" in slurm.call("scontrol", "show", "job", task)
    scheduler.scale(0)
    until(lambda: not tasks(slurm), "an empty queue")


RECIPE = """name = "small"
architecture = "srvgg"
scale = 2
clean = ["clean"]
[parameters]
num_in_ch = 3
num_out_ch = 3
num_feat = 8
num_conv = 2
upscale = 2
act_type = "prelu"
[options]
steps = 200
batch = 2
slots = 1
patch = 16
pool = 0
validate_every = 200
checkpoint_every = 200
"""
"""A network of 5,000 weights, which no gate passes: its run ends with 1."""


@pytest.mark.timeout(1200)
def test_a_preempted_training_run_queues_itself_again_and_ends(
    slurm: Cluster, settings: Settings, tmp_path: Path
) -> None:
    """Preempted before its first checkpoint was due, a run writes one, comes back after the urgent job, and ends as one run."""
    wired = replace(settings, device="cpu", threads=1)
    values = {**wired.environment(), "RESPOOL_COMMAND": str(Path(sys.executable).with_name("respool"))}
    (slurm.folder / "respool.env").write_text("".join(f"export {k}='{v}'\n" for k, v in values.items() if v))
    (tmp_path / "clean").mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        cv2.imwrite(str(tmp_path / "clean" / f"{name}.png"), getattr(skimage.data, name)()[:200, 100:300])
    (tmp_path / "recipe.toml").write_text(RECIPE)
    script = slurm.script("train", 16, "48G", "%j")
    job = slurm.call("sbatch", "--parsable", str(script), "train", str(tmp_path / "recipe.toml"))
    storage = Storage(wired)

    def document(kind: type[Document], name: str) -> Document | None:
        for run in storage.folders("train/"):
            data = storage.find(keys.train_document(run, name))
            return None if data is None else msgspec.json.decode(data, type=kind)
        return None

    def trained() -> int:
        progress = document(Progress, "progress.json")
        return progress.step if progress else 0

    until(lambda: trained() > 0, f"the first steps; {list(slurm.folder.glob('*.log'))}", 240)
    urgent = ("--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true")
    slurm.call("sbatch", *urgent)
    until(lambda: "Restarts=1" in slurm.call("scontrol", "show", "job", job), "the run to be queued again", 240)
    until(lambda: document(Record, "record.json") is not None, "the run's end", 600)
    record = document(Record, "record.json")
    assert record is not None
    assert record.steps == 200
    (run,) = storage.folders("train/")
    commits = [msgspec.json.decode(storage.get(key), type=Commit) for key, _ in storage.list(keys.commits_prefix(run))]
    assert any(0 < commit.step < 200 for commit in commits)  # written because of SIGTERM alone
    until(lambda: "JobState=FAILED" in slurm.call("scontrol", "show", "job", job), "the refusal, which is final")


_NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0, False, False)
