"""Progress of a job for the user: a live bar on a terminal, plain lines elsewhere; all on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from contract.printable import printable
from orchestrator.cli.terminal import echo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from orchestrator.jobs.status import JobStatus

_LINE_EVERY_S = 5.0
_BAR = 16
"""Columns of the bar."""
_ROOM = _BAR + 19
"""Columns of all that stands before the text: spinner, phase, bar, and a blank after each."""


class Display(Protocol):
    """Display of progress."""

    def transfer(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` bytes of `what` (uploading, fetching, ...) are transferred."""

    def job(self, status: JobStatus) -> None:
        """Show the status of a job."""

    def say(self, sentence: str) -> None:
        """Print a sentence that stays on the screen."""

    def result(self, line: object) -> None:
        """Print the path of a file that was written, or their number."""


Mode = Literal["shown", "quiet", "json"]


@contextmanager
def display(mode: Mode = "shown") -> Iterator[Display]:
    """Choose the display that suits stderr; ``quiet`` shows no progress, ``json`` writes one event a line on stdout."""
    if mode == "json":
        yield Events()
        return
    if mode == "quiet":
        yield Quiet()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console

    with live(Console(stderr=True)) as shown:
        yield shown


@contextmanager
def live(console: Console) -> Iterator[Live]:
    """Show a bar on `console`, a terminal, with a spinner that turns while nothing else moves."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<13}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=_BAR),
        TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=console,
        transient=True,
    )
    with bar:
        yield Live(bar)


def duration(seconds: float) -> str:
    """Format seconds as 1:02:03, 4:05, or 0:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def phase(status: JobStatus) -> str:
    """Name in at most 13 letters what a job is at: its state, in words for a user who waits."""
    if status.state == "ingesting":
        return "reading"
    if status.state == "running" and not status.frames.done:
        return "loading model" if status.chunks.running else "waiting"
    return status.state


def describe(status: JobStatus, most: int = 1000) -> str:
    """Describe frames or images with megapixels, speed, time left, workers and retries in one line.

    With more than `most` letters, the less important parts are left out, and the time left last of all.
    """
    parts = _parts(status)
    for word in ("megapixels", "worker", "retried", "fps", "a frame", "chunks failed", "images", "quota"):
        if len(", ".join(parts)) <= most:
            break
        parts = [part for part in parts if word not in part] or parts
    return ", ".join(parts)


def _parts(status: JobStatus) -> list[str]:
    if status.blocked:
        return [status.blocked]
    images = status.images
    parts = [] if images and not status.films else [f"{status.frames.done}/{status.frames.total} frames"]
    if images:
        parts.append(f"{images.done}/{images.total} images")
        digits = 1 if images.megapixels_total >= 10 else 2
        parts.append(f"{images.megapixels_done:.{digits}f}/{images.megapixels_total:.{digits}f} megapixels")
    if status.fps:
        parts.append(_speed(status, status.fps))
    if status.eta_s is not None:
        parts.append(f"{duration(status.eta_s)} left")
    parts.append(f"{status.workers} worker{'' if status.workers == 1 else 's'}")
    if status.held:
        parts.append(status.held)
    elif status.behind:
        parts.append(f"waiting behind job {', '.join(status.behind)}")
    if status.retried:
        parts.append(f"{status.retried} retried")
    if status.chunks.failed:
        parts.append(f"{status.chunks.failed} chunks failed")
    return parts


def _speed(status: JobStatus, fps: float) -> str:
    """Format the speed: frames a second, or megapixels for images alone, whose sizes differ up to a thousandfold."""
    if status.images and not status.films:
        return f"{fps * status.images.megapixels_total / status.frames.total:.2f} megapixels/s"
    return f"{fps:.1f} fps" if fps >= 1 else f"{1 / fps:.1f} s a frame"


def _megabytes(done: int, total: int) -> str:
    return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"


class Live:
    """Progress bar on a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: TaskID = bar.add_task("starting", total=None, text="")

    def transfer(self, what: str, done: int, total: int) -> None:
        """Show transferred bytes."""
        self._bar.update(self._task, description=what, completed=done, total=total, text=_megabytes(done, total))

    def job(self, status: JobStatus) -> None:
        """Show the status of a job."""
        total = status.frames.total or None
        text = describe(status, self._bar.console.width - _ROOM)
        self._bar.update(self._task, description=phase(status), completed=status.frames.done, total=total, text=text)

    def say(self, sentence: str) -> None:
        """Print a sentence that stays on the screen."""
        self._bar.console.print(printable(sentence), markup=False, highlight=False)

    def result(self, line: object) -> None:
        """Print the line on stdout, above the bar."""
        self._bar.stop()  # a bar that is shown takes stdout's lines for its own terminal
        echo(line)
        self._bar.start()


class Lines:
    """Lines of text: one at each change, else one every few seconds."""

    def __init__(self) -> None:
        self._last, self._at = "", 0.0

    def transfer(self, what: str, done: int, total: int) -> None:
        """Show transferred bytes."""
        self._line(what, _megabytes(done, total), done == total)

    def job(self, status: JobStatus) -> None:
        """Show the status of a job."""
        self._line(status.state, describe(status), False)

    def say(self, sentence: str) -> None:
        """Print a sentence that stays on the screen."""
        echo(sentence, err=True)

    def result(self, line: object) -> None:
        """Print the line on stdout."""
        echo(line)

    def _line(self, what: str, text: str, now: bool) -> None:
        if now or what != self._last or time.monotonic() - self._at > _LINE_EVERY_S:
            echo(f"{what}: {text}", err=True)
            self._last, self._at = what, time.monotonic()


class Quiet(Lines):
    """No progress: only results, and sentences that ask for something."""

    def transfer(self, what: str, done: int, total: int) -> None:
        """Show nothing."""

    def job(self, status: JobStatus) -> None:
        """Show nothing."""


class Events:
    """One JSON object a line on stdout, for programs: `event` is transfer, job, say or result; fields are only ever added."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = ()
        self._at = 0.0

    def transfer(self, what: str, done: int, total: int) -> None:
        """Write the bytes that were transferred, at most once a second and at the end."""
        if done == total or what not in self._last or time.monotonic() - self._at >= 1:
            self._last, self._at = (what,), time.monotonic()
            self._write(event="transfer", what=what, done=done, total=total)

    def job(self, status: JobStatus) -> None:
        """Write a job's status when frames, chunks or the state have changed."""
        now = (status.state, status.frames.done, status.chunks, status.behind, status.blocked, status.held)
        if now != self._last:
            self._last = now
            self._write(event="job", **msgspec.to_builtins(status))

    def say(self, sentence: str) -> None:
        """Write a sentence for the user."""
        self._write(event="say", text=sentence)

    def result(self, line: object) -> None:
        """Write the path of a file."""
        self._write(event="result", text=str(line))

    def _write(self, **fields: object) -> None:
        echo(msgspec.json.encode(fields))
        sys.stdout.flush()
