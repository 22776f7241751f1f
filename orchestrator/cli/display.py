"""What a user sees of a job that is on its way: a live bar on a terminal, plain lines elsewhere; all on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from orchestrator.jobs.status import JobStatus

_LINE_EVERY_S = 5.0


class Display(Protocol):
    """Shows how far something is."""

    def transfer(self, what: str, done: int, total: int) -> None:
        """`done` of `total` bytes of `what` (uploading, fetching, ...)."""

    def job(self, status: JobStatus) -> None:
        """The job as it stands."""

    def say(self, sentence: str) -> None:
        """A sentence that stays."""


@contextmanager
def display() -> Iterator[Display]:
    """The display that suits stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield Live(bar)


def duration(seconds: float) -> str:
    """1:02:03, 4:05, or 0:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(status: JobStatus) -> str:
    """Frames or images with their megapixels, speed, time left, workers and retries in one line."""
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
    if status.retried:
        parts.append(f"{status.retried} retried")
    if status.chunks.failed:
        parts.append(f"{status.chunks.failed} chunks failed")
    return ", ".join(parts)


def _speed(status: JobStatus, fps: float) -> str:
    """Frames a second; of a job of images alone megapixels, as one may be a thousand times another and be done in bands."""
    if status.images and not status.films:
        return f"{fps * status.images.megapixels_total / status.frames.total:.2f} megapixels/s"
    return f"{fps:.1f} fps" if fps >= 1 else f"{1 / fps:.1f} s a frame"


def _megabytes(done: int, total: int) -> str:
    return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"


class Live:
    """A bar on a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: TaskID = bar.add_task("starting", total=None, text="")

    def transfer(self, what: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=what, completed=done, total=total, text=_megabytes(done, total))

    def job(self, status: JobStatus) -> None:
        total = status.frames.total or None
        self._bar.update(
            self._task, description=status.state, completed=status.frames.done, total=total, text=describe(status)
        )

    def say(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False, highlight=False)


class Lines:
    """A line when something changes, and else every few seconds."""

    def __init__(self) -> None:
        self._last, self._at = "", 0.0

    def transfer(self, what: str, done: int, total: int) -> None:
        self._line(what, _megabytes(done, total), done == total)

    def job(self, status: JobStatus) -> None:
        self._line(status.state, describe(status), False)

    def say(self, sentence: str) -> None:
        click.echo(sentence, err=True)

    def _line(self, what: str, text: str, now: bool) -> None:
        if now or what != self._last or time.monotonic() - self._at > _LINE_EVERY_S:
            click.echo(f"{what}: {text}", err=True)
            self._last, self._at = what, time.monotonic()
