"""The progress of a run on stderr: one line that is updated on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time

from contract.training import Progress

_EVERY_S = 5.0


class Display:
    """Shows progress and sentences."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._at = 0.0
        self._open = False

    def show(self, what: Progress | str) -> None:
        """Show progress, or a sentence that stays."""
        if isinstance(what, str):
            self.say(what)
            return
        last = what.step >= what.steps
        if self._live:
            self._write(f"\r\x1b[K{describe(what)}")
            self._open = True
        elif last or time.monotonic() - self._at >= _EVERY_S:
            self._write(f"{describe(what)}\n")
            self._at = time.monotonic()

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        self._write(("\r\x1b[K" if self._open else "") + sentence + "\n")
        self._open = False

    def end(self, seconds: float) -> None:
        """Close the line, and say how long it all took."""
        self.say(f"took {duration(seconds)}")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def describe(progress: Progress) -> str:
    """Describe progress in one line: steps, speed, losses, validation, time left."""
    parts = [f"step {progress.step}/{progress.steps}"]
    if progress.steps_per_s:
        parts.append(f"{progress.steps_per_s:.2f} steps/s")
    parts += [f"{name} {value:.4f}" for name, value in progress.losses.items()]
    if progress.validation is not None:
        parts.append(f"validation {progress.validation:.2f} dB")
    if progress.skipped:
        parts.append(f"{progress.skipped} skipped")
    if progress.left_s is not None and progress.state == "training":
        parts.append(f"{duration(progress.left_s)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return 1:02:03, 4:05, or 0:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
