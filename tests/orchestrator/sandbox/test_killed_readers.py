"""A source over which the kernel kills its readers is counted, paused for, and refused alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import Interrupted
from contract.job import Spec
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.sandbox import environment, parent
from orchestrator.sandbox.parent import Confined
from orchestrator.submission.submit import submit
from stores.item_kills import ItemKills
from stores.ledger import Ledger
from stores.limits import cgroup_files, memory_limit
from stores.storage import Storage
from testkit.clips import make_film

_FAULTS = """
import os, signal
from orchestrator.ingest import job as module

MARK = open(os.environ["FAULT_MARK"], "a")  # the process cannot open it later
film = module._film

def killed(job, item, *rest):
    MARK.write(item.name + "\\n")
    MARK.flush()
    if item.name.startswith("eats"):
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return film(job, item, *rest)

module._film = killed
"""


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Readers die of films that eat memory; the file lists the films that were read."""
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FAULT_MARK", str(tmp_path / "reads"))
    monkeypatch.setattr(environment, "KEPT", environment.KEPT | {"FAULT_MARK"})
    monkeypatch.setattr(parent, "_FIRST_WAIT_S", 0.01)
    return tmp_path / "reads"


@pytest.mark.slow
def test_a_source_over_which_readers_are_killed_is_refused_alone(
    reads: Path, settings: Settings, tmp_path: Path
) -> None:
    """Three kills, then the item fails with its reason, and the others are planned; another orchestrator does not begin anew."""
    films = [make_film(tmp_path / f"{name}.mp4", 5, seed=seed) for seed, name in enumerate(("a", "eats", "z"), 300)]
    job = submit(films, Spec(model="identity"), settings).job.id
    kills = ItemKills(settings)
    kills.begin(job, 1)  # the orchestrator that read it first was killed as well
    confined = Confined(settings, kills=kills)
    try:
        confined.run("ingest", job, lambda: None)
    finally:
        confined.close()
    plan = Records(Storage(settings)).plan(job)
    assert plan is not None
    assert {chunk.item for chunk in plan.chunks} == {0, 2}
    (failure,) = plan.failures
    assert (failure.item, "killed 3 times" in failure.reason) == (1, True)
    assert reads.read_text().count("eats.mp4") == 2
    assert kills.counts(job) == {1: 3}


def test_a_reader_that_is_told_to_stop_counts_nothing(settings: Settings, tmp_path: Path) -> None:
    """A checkpoint that raises is no kill."""
    job = submit([make_film(tmp_path / "a.mp4", 5, seed=310)], Spec(model="identity"), settings).job.id
    kills = ItemKills(settings)
    confined = Confined(settings, kills=kills)

    def stop() -> None:
        raise Interrupted("enough")

    try:
        with pytest.raises(Interrupted):
            confined.run("ingest", job, stop)
    finally:
        confined.close()
    assert kills.counts(job) == {}


def test_the_count_ends_with_the_job(settings: Settings) -> None:
    """The same files, submitted anew after gc removed the job, are read anew."""
    kills, ledger, job = ItemKills(settings), Ledger(settings), "0123456789abcdef"
    kills.begin(job, 1)
    assert ledger.close(job, ledger.announcements(job))
    assert kills.counts(job) == {}


def test_the_limit_of_a_group_around_this_one_holds(settings: Settings, tmp_path: Path) -> None:
    """Slurm limits the job's group, several levels below the root; the narrowest of all groups counts, in both versions."""
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("4:cpu,memory:/slurm/uid_0/job_7\n0::/slurm.slice/job_7/step_0\n")
    (root / "slurm.slice" / "job_7" / "step_0").mkdir(parents=True)
    (root / "slurm.slice" / "job_7" / "step_0" / "memory.max").write_text("max\n")
    wanted = replace(settings, media_memory=8 << 30)
    assert memory_limit(wanted, cgroup_files(root, own)) == 8 << 30
    (root / "slurm.slice" / "job_7" / "memory.max").write_text(f"{4 << 30}\n")
    assert memory_limit(wanted, cgroup_files(root, own)) == int((4 << 30) * 0.8)
    (root / "memory" / "slurm" / "uid_0" / "job_7").mkdir(parents=True)
    (root / "memory" / "slurm" / "memory.limit_in_bytes").write_text(f"{3 << 30}\n")
    assert memory_limit(wanted, cgroup_files(root, own)) == int((3 << 30) * 0.8)
    assert cgroup_files(root, tmp_path / "none") == [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]


def test_the_limit_follows_the_container(settings: Settings, tmp_path: Path) -> None:
    """A reader may map less than the container has, and never more than the setting; no file, or "max", is no limit."""
    file = tmp_path / "memory.max"
    wanted = replace(settings, media_memory=8 << 30)
    assert memory_limit(wanted, [file]) == 8 << 30
    file.write_text("max\n")
    assert memory_limit(wanted, [file]) == 8 << 30
    file.write_text(f"{4 << 30}\n")
    assert memory_limit(wanted, [file]) == int((4 << 30) * 0.8)
    assert memory_limit(replace(settings, media_memory=0), [file]) == int((4 << 30) * 0.8)
    file.write_text(f"{1 << 30}\n")
    assert memory_limit(wanted, [file]) == 2 << 30
