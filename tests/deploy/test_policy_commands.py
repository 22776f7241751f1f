"""Commands under the documented S3 policies, on a real store: each role's own ones work, others are refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from contract import keys
from contract.errors import Unreachable
from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.job_store import Records
from stores.storage import Storage
from testkit.clips import make_film
from testkit.processes import until
from testkit.role_store import role_store

OPTIONS = ("-m", "identity", "--codec", "ffv1")
IMAGES = ("-m", "lanczos", "-s", "2")

pytestmark = pytest.mark.timeout(900)  # most of it is the start of one process for each command


class Roles:
    """Commands by role, on one cluster whose own processes have the keys of theirs."""

    def __init__(self, roles: dict[str, Settings]) -> None:
        self.roles = roles
        self.records = Records(Storage(roles["submitter"]))
        self.worker = psutil.Process()

    @contextmanager
    def idle_worker(self) -> Iterator[None]:
        """Let the worker stand still, so that a job cannot end before a command reaches it."""
        family = [self.worker, *self.worker.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                process.resume()

    def environment(self, role: str) -> dict[str, str]:
        return {**os.environ, **self.roles[role].environment(), "RESPOOL_PRELOAD": "false"}

    def run(self, role: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        argv = command_line(Program.COMMAND_LINE, *arguments)
        return subprocess.run(argv, env=self.environment(role), capture_output=True, text=True, check=False)

    def well(self, role: str, *arguments: object, code: int = 0) -> str:
        """Return the output of a command that `role` may use."""
        done = self.run(role, *arguments)
        assert done.returncode == code, f"{role}: {arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def refused(self, role: str, *arguments: object) -> str:
        """Return the sentence by which a command is refused to `role`."""
        done = self.run(role, *arguments)
        assert done.returncode not in (0, 1), f"{role}: {arguments}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        (sentence,) = [line for line in done.stderr.splitlines() if "AccessDenied" in line]
        assert "deploy/s3" in sentence
        return sentence

    def ended(self, job: str) -> str:
        return until(lambda: self.records.manifest(job), "the end of the job", 240).state


@pytest.fixture(scope="module")
def roles(settings: Settings) -> Iterator[Roles]:
    """An orchestrator and a worker, each with its role's key; and all others that have a key."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True))
        )
        wired = {
            role: replace(own, redis_url=settings.redis_url, scratch=folder, cache=folder / "cache", threads=1)
            for role, own in stack.enter_context(role_store(folder)).items()
        }
        Storage(wired["orchestrator"]).ensure_bucket()
        found = Roles(wired)
        for role in ("orchestrator", "worker"):
            with (folder / f"{role}.log").open("wb") as log:
                process = subprocess.Popen(
                    command_line(Program.COMMAND_LINE, role), env=found.environment(role), stdout=log, stderr=log
                )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            found.worker = psutil.Process(process.pid)
        yield found


def stills(folder: Path, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for n in range(3):
        Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8)).save(folder / f"scan_{n:03}.png")
    return folder


def large_film(folder: Path) -> Path:
    """A film that is uploaded in parts: readers of mp4 pass over what follows it."""
    film = make_film(folder / "film.mp4", 10, seed=801)
    with film.open("ab") as stream:
        stream.write((20 << 20).to_bytes(4, "big") + b"free" + bytes((20 << 20) - 8))
    return film


def test_a_submitter_submits_and_fetches_a_film(roles: Roles, tmp_path: Path) -> None:
    """A film of several parts: submitted, watched, fetched."""
    job = roles.well("submitter", "submit", large_film(tmp_path), *OPTIONS)
    roles.well("submitter", "watch", job)
    assert job in roles.well("submitter", "status")
    roles.well("submitter", "fetch", job, "-o", tmp_path / "out")
    assert list((tmp_path / "out").rglob("film.m*"))


def test_a_submitter_submits_and_fetches_numbered_images(roles: Roles, tmp_path: Path) -> None:
    """Numbered images as a film: the list of their names is the submitter's object as well."""
    job = roles.well("submitter", "submit", stills(tmp_path / "sequence", 802), "--sequence", "24", *OPTIONS)
    assert roles.ended(job) == "done"
    assert roles.records.storage.exists(keys.sequence(job, 0))
    roles.well("submitter", "fetch", job, "-o", tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.m*"))


def test_a_submitter_submits_a_folder_with_an_unreadable_file(roles: Roles, tmp_path: Path) -> None:
    """The reason for the unreadable file and the sidecar of another are stored; retry opens the job without removing its plan."""
    folder = stills(tmp_path / "folder", 803)
    damaged = folder / "scan_001.png"
    (folder / "scan_001.png.sha256").write_text(f"{hashlib.sha256(b'other').hexdigest()}  {damaged.name}\n")
    (folder / "scan_000.xmp").write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    job = roles.well("submitter", "submit", folder, *IMAGES)
    assert roles.ended(job) == "failed"
    storage = roles.records.storage
    assert storage.exists(keys.refused(job, 1))
    assert list(storage.list(keys.sidecars_prefix(job)))
    roles.well("submitter", "submit", folder, *IMAGES)  # the same job again
    roles.well("submitter", "retry", job)
    assert roles.ended(job) == "failed"
    assert roles.records.control(job).retries == 1
    roles.well("submitter", "fetch", job, "-o", tmp_path / "out", code=1)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_a_submitter_steers_jobs(roles: Roles, tmp_path: Path) -> None:
    """Pause, resume, cancel and retry are the submitter's; `run` on a cluster of others is, too."""
    film = make_film(tmp_path / "steered.mp4", 30, seed=804)
    with roles.idle_worker():
        job = roles.well("submitter", "submit", film, *OPTIONS)
        for command in ("pause", "resume", "cancel", "retry"):
            roles.well("submitter", command, job)
    assert roles.ended(job) == "done"
    other = make_film(tmp_path / "run.mp4", 10, seed=805)
    roles.well("submitter", "run", other, "-o", tmp_path / "out", *OPTIONS)
    assert len(list((tmp_path / "out").rglob("run.*"))) == 1


def test_commands_of_other_roles_are_refused(roles: Roles, tmp_path: Path) -> None:
    """A worker cannot submit or steer, an operator cannot submit, a submitter cannot remove; nothing changes meanwhile."""
    film = make_film(tmp_path / "kept.mp4", 10, seed=806)
    job = roles.well("submitter", "submit", film, *OPTIONS)
    assert roles.ended(job) == "done"
    before = {key for key, _ in roles.records.storage.list(keys.job_prefix(job))}
    new = make_film(tmp_path / "new.mp4", 10, seed=807)
    for role in ("worker", "operator"):
        assert "submitters/" in roles.refused(role, "submit", new, *OPTIONS)
    with roles.idle_worker():
        running = roles.well("submitter", "submit", make_film(tmp_path / "running.mp4", 10, seed=808), *OPTIONS)
        for command in ("pause", "cancel"):
            assert "control.json" in roles.refused("worker", command, running)
    for role in ("submitter", "worker"):
        roles.refused(role, "gc", "--days", "0", "--results", "--delete")
    assert {key for key, _ in roles.records.storage.list(keys.job_prefix(job))} >= before
    assert roles.ended(running) == "done"


def test_an_operator_collects_and_examines(roles: Roles, tmp_path: Path) -> None:
    """`gc` lists and removes, `doctor` examines; with a submitter's key doctor says what it may not do."""
    job = roles.well("submitter", "submit", make_film(tmp_path / "old.mp4", 10, seed=809), *OPTIONS)
    assert roles.ended(job) == "done"
    assert job in roles.well("operator", "gc", "--days", "0")
    roles.well("operator", "gc", "--days", "0", "--delete")
    assert not roles.records.storage.exists(keys.source(job, 0))
    assert roles.records.storage.exists(keys.manifest(job))
    found = json.loads(roles.well("operator", "doctor", "--json"))
    assert {finding["what"] for finding in found if finding["verdict"] == "bad"} == set()
    refused = json.loads(roles.well("submitter", "doctor", "--json", code=1))
    (bad,) = [finding for finding in refused if finding["verdict"] == "bad"]
    assert "deploy/s3" in bad["detail"]


def test_what_training_stores_is_the_trainers_alone(roles: Roles) -> None:
    """Of all roles' keys only the trainer's writes what training stores."""
    key = "train/0000000000000000/run.json"
    for role, wired in roles.roles.items():
        if role == "trainer":
            assert Storage(wired).put(key, b"{}")
            continue
        with pytest.raises(Unreachable, match="AccessDenied"):
            Storage(wired).put(key, b"{}")
