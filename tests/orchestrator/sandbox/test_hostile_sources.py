"""A source that kills its reader is refused with a reason; the other sources and the orchestrator go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from contract.errors import BadInput, Cancelled
from contract.film import FilmIndex
from contract.job import Item, Plan, Spec
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.sandbox import environment
from orchestrator.sandbox.environment import HEAP
from orchestrator.sandbox.parent import Confined
from orchestrator.submission.submit import submit
from stores.storage import Storage

pytestmark = pytest.mark.slow

_FAULTS = """
import os, signal, time
from orchestrator.ingest import film as planning
from orchestrator.ingest import job as module

MARK = open(os.environ["FAULT_MARK"], "a")  # the process cannot open it later
film = module._film
plan_film = planning.plan_film

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def plan(source, item, spec, scale, checkpoint):
    if item.name.startswith("stuck"):
        spin(60)
    if item.name.startswith("long"):
        for _ in range(8):
            spin(0.5)
            checkpoint()
    if item.name.startswith("dies"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return plan_film(source, item, spec, scale, checkpoint)

def hostile(job, item, *rest):
    if item.name.startswith("segv"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if item.name.startswith("spin"):
        while True:
            pass
    if item.name.startswith("eat"):
        bytearray(1 << 40)
    if item.name.startswith("wait"):
        signal.pause()
    if item.name.startswith("once") and not os.fstat(MARK.fileno()).st_size:
        MARK.write("once")
        MARK.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return film(job, item, *rest)

module._film = hostile
planning.plan_film = plan
"""


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from now on die of films with telling names, as of a hole in a media library."""
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FAULT_MARK", str(tmp_path / "mark"))
    monkeypatch.setattr(environment, "KEPT", environment.KEPT | {"FAULT_MARK"})


def _films(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for n, name in enumerate(names):
        with av.open(str(folder / f"{name}.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=Fraction(24))
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            picture = np.full((48, 64, 3), 7 * n + len(folder.name), np.uint8)
            for _ in range(3):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())


def job_of(settings: Settings, folder: Path, *names: str) -> str:
    """A submitted job of small films with these names, each different."""
    _films(folder, *names)
    return submit([folder], Spec(model="identity"), settings).job.id


def ingested(settings: Settings, job: str, checkpoint: Callable[[], None] = lambda: None) -> Plan:
    confined = Confined(settings)
    try:
        confined.run("ingest", job, checkpoint)
    finally:
        confined.close()
    plan = Records(Storage(settings)).plan(job)
    assert plan is not None
    return plan


@pytest.mark.usefixtures("faults")
def test_a_source_that_crashes_its_reader_is_refused_alone(settings: Settings, tmp_path: Path) -> None:
    """A segmentation fault and an endless loop cost one source each; the films between them are planned."""
    job = job_of(settings, tmp_path / "crash", "a", "segv", "m", "spin", "z")
    plan = ingested(replace(settings, media_cpu_s=2.0), job)
    assert {failure.name: failure.reason.split(";")[0] for failure in plan.failures} == {
        "segv.mp4": "reading it ended the process that did (SIGSEGV)",
        "spin.mp4": "reading it takes more than 60 s of processor time at one place, or 2 s in all",
    }
    assert {chunk.item for chunk in plan.chunks} == {0, 1, 4}  # a, m and z, in the order of their names


@pytest.mark.usefixtures("faults")
def test_a_source_that_wants_all_memory_is_refused_alone(settings: Settings, tmp_path: Path) -> None:
    """A header that makes the parser ask for a terabyte is refused with the setting that allows more."""
    plan = ingested(settings, job_of(settings, tmp_path / "memory", "a", "eat"))
    (failure,) = plan.failures
    assert failure.name == "eat.mp4"
    assert "RESPOOL_MEDIA_MEMORY" in failure.reason
    assert len(plan.chunks) == 1


@pytest.mark.usefixtures("faults")
def test_a_killed_process_says_nothing_about_the_source(settings: Settings, tmp_path: Path) -> None:
    """A single SIGKILL from outside is no evidence: the order is repeated, and succeeds."""
    job = job_of(settings, tmp_path / "killed", "once")
    assert ingested(settings, job).failures == ()


@pytest.mark.usefixtures("faults")
def test_a_cancelled_act_leaves_no_process(settings: Settings, tmp_path: Path) -> None:
    """A checkpoint that raises ends the process in the middle of a source, wherever it hangs, and the one that waits too."""
    job = job_of(settings, tmp_path / "cancelled", "wait")
    looks = 0

    def checkpoint() -> None:
        nonlocal looks
        looks += 1
        if looks == 8:
            raise Cancelled("enough")

    before = set(psutil.Process().children())
    with pytest.raises(Cancelled):
        ingested(settings, job, checkpoint)
    assert set(psutil.Process().children()) == before


def test_nothing_of_the_act_is_kept_open(settings: Settings, tmp_path: Path) -> None:
    """An orchestrator that does many acts does not run out of file descriptors."""
    job = job_of(settings, tmp_path / "open", "a")
    ingested(settings, job)
    before = len(list(Path("/proc/self/fd").iterdir()))
    ingested(settings, job)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.usefixtures("faults")
def test_a_command_survives_what_it_looks_at(settings: Settings, tmp_path: Path) -> None:
    """Before there is a job, too: a film that stops its reader or crashes it is refused, one that is merely long is planned."""
    _films(tmp_path / "looks", "stuck", "long", "dies")
    before = psutil.Process().children()  # of tests of training, whose fork server stays
    confined = Confined(replace(settings, media_step_s=1.0), ahead=False)

    def planned(name: str) -> FilmIndex:
        path = tmp_path / "looks" / name
        item = Item(0, "video", name, name, "0" * 64, path.stat().st_size)
        return confined.plan(path, item, Spec(model="identity"), 1)

    with closing(confined):
        with pytest.raises(BadInput, match=r"^stuck\.mp4 cannot be read: .* more than 1 s .*RESPOOL_MEDIA_STEP_S"):
            planned("stuck.mp4")
        with pytest.raises(BadInput, match=r"^dies\.mp4 cannot be read: .*SIGSEGV"):
            planned("dies.mp4")
        assert planned("long.mp4").frames == 3
        (tmp_path / "looks" / "text.mp4").write_bytes(b"no film\n" * 100)
        with pytest.raises(BadInput, match=r"^text\.mp4 cannot be opened as a film"):
            planned("text.mp4")
        (tmp_path / "looks" / "gone.mp4").symlink_to("nowhere")
        with pytest.raises(FileNotFoundError):
            confined.plan(
                tmp_path / "looks" / "gone.mp4", Item(0, "video", "g", "g", "0" * 64, 1), Spec(model="identity"), 1
            )
    assert psutil.Process().children() == before


@pytest.mark.parametrize("chosen", [None, "131072"])
def test_sandboxed_processes_return_memory_unless_the_operator_chose(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    """Sandboxed processes start with our glibc tunables, unless the operator has set them."""
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    if chosen:
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", chosen)
    before = {process.pid for process in psutil.Process().children()}
    with closing(Confined(settings)):
        (sandboxed,) = [process for process in psutil.Process().children() if process.pid not in before]
        assert sandboxed.environ()["MALLOC_MMAP_THRESHOLD_"] == (chosen or HEAP["MALLOC_MMAP_THRESHOLD_"])
