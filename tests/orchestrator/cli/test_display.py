"""Progress on terminals of 80 and 100 columns."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from rich.console import Console

from orchestrator.cli.display import describe, live, phase
from orchestrator.jobs.status import ChunkProgress, ImageProgress, JobStatus, Progress

MIXED = JobStatus(
    id="ab" * 8,
    state="running",
    name="reels and 1200 more",
    created="2026-11-28T12:00:00Z",
    items=1201,
    chunks=ChunkProgress(2000, 900, 3, 4),
    frames=Progress(143_210, 61_002),
    fps=11.4,
    eta_s=7212.0,
    workers=16,
    retried=12,
    handed_back=4,
    films=3,
    images=ImageProgress(1198, 431, 28_752.1, 10_344.4),
)
TRANSFERS = (("uploading", 10, 20), ("fetching", 1_234_567_890, 9_876_543_210))
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("state", ["ingesting", "running", "assembling", "paused"])
def test_the_bar_is_one_line_with_the_time_left(width: int, state: str) -> None:
    """Nothing wraps and nothing is cut off, whatever the job has; frames and time left are always there."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    status = msgspec.structs.replace(MIXED, state=state)
    with live(console) as show:
        for what, done, total in TRANSFERS:
            show.transfer(what, done, total)
        show.job(status)
        show.say("a sentence that stays")
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", file.getvalue())]
    assert max(map(len, lines)) <= width
    bars = [line for line in lines if "61002/143210 frames" in line]
    assert bars
    assert all("2:00:12 left" in line and "\u2026" not in line for line in bars)
    assert "a sentence that stays" in lines, "a line of its own"


def test_each_phase_has_its_word() -> None:
    """A user who waits reads the reason."""
    begun = msgspec.structs.replace(MIXED, frames=Progress(100, 0))
    nobody = msgspec.structs.replace(begun, chunks=ChunkProgress(5, 0, 0, 0))
    assert phase(msgspec.structs.replace(MIXED, state="ingesting")) == "reading"
    assert phase(begun) == "loading model"
    assert phase(nobody) == "waiting"
    assert phase(MIXED) == "running"
    behind = msgspec.structs.replace(nobody, behind=("cd" * 8,))
    assert f"waiting behind job {'cd' * 8}" in describe(behind)


def test_colours_stay_out_of_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    with live(Console(file=file, width=80, force_terminal=True)) as show:
        show.job(MIXED)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", file.getvalue())
