"""Processes of a test's own, and waiting for what they do."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, seconds: float = 120.0) -> T:
    """Call `look` until it returns something truthy and return that.

    Raises:
        TimeoutError: after `seconds`; the message names `what`.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        pause.wait(0.01)


@contextmanager
def running(argv: list[str], log: Path, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process as long as the block, in a group of its own; at the end it gets SIGTERM, and then its group SIGKILL.

    Args:
        argv: the program and its arguments.
        log: file to which its output is appended.
        environ: environment variables that are added to, or replace, this process' own.
    """
    with log.open("ab") as stream:
        process = subprocess.Popen(
            argv, stdout=stream, stderr=stream, env={**os.environ, **(environ or {})}, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
