"""The command line as a process that a test talks to."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av

from contract.programs import Program, command_line


def popen(*args: object, **options: Any) -> subprocess.Popen[str]:
    """Start `respool` with `args`, its output in pipes."""
    return subprocess.Popen(
        command_line(Program.COMMAND_LINE, *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and so would all that the tests start in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def lines_until(stream: Iterable[str] | None, word: str) -> list[str]:
    """Return the lines of a stream up to the first with `word` in it."""
    lines: list[str] = []
    for line in stream or ():
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word!r} never came: {lines}")


def size(path: Path) -> tuple[int, int, int]:
    """Return (frames, width, height) of a film."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        return sum(1 for _ in film.decode(stream)), stream.width, stream.height
