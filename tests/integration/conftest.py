"""The command line as users have it: a process of its own, whose exit code and streams count."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.cli.main import call
from orchestrator.local import stop

Respool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def respool(tmp_path: Path) -> Respool:
    """Run `respool ARGS...` with an empty home; `env` adds variables."""

    def run(
        *args: object, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RESPOOL_")}
        home = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(
            command_line(Program.COMMAND_LINE, *args),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=clean | home | dict(env or {}),
        )

    return run


@pytest.fixture
def respool_here(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Respool:
    """Like `respool`, within this process: for what ends before anything is started, a second faster each time."""
    for name in [name for name in os.environ if name.startswith("RESPOOL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        code = call([str(arg) for arg in args])
        streams = capsys.readouterr()
        return subprocess.CompletedProcess(args, code, streams.out, streams.err)

    return run


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets live below it."""
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def small_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of 64x48 H.264 with a moving gradient, and a second of AAC."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=24, options={"crf": "20", "g": "12"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=48000, layout="mono")
        y, x = np.mgrid[0:48, 0:64]
        for n in range(24):
            rgb = np.stack([(x * 4 + 3 * n) % 256, (y * 5) % 256, (x + y + n) % 256], axis=-1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 24)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for n in range(46):
            tone = np.sin(np.arange(n * 1024, (n + 1) * 1024) * 2 * np.pi * 440 / 48000).astype(np.float32)[None] / 4
            sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 48000, n * 1024
            out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
    return path


def using(folder: Path) -> list[str]:
    """Command lines of the processes, other than this one, that have `folder` in their arguments or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("RESPOOL_STATE", "")]
            if process.pid != os.getpid() and any(str(folder) in word for word in words):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.fixture
def nobody_left(tmp_path: Path) -> Callable[[], list[str]]:
    """Return a function that lists the processes that still run on a state folder below `tmp_path`."""
    return lambda: using(tmp_path)


@pytest.fixture
def state() -> Iterator[Settings]:
    """Settings with a short state folder, as users have; processes that a failing test left there are ended."""
    with tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder:
        settings = Settings(state=Path(folder) / "state")
        yield settings
        stop(settings)
