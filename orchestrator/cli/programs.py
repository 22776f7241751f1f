"""Programs of other rooms that the command line starts, because they load torch and it never does."""

from __future__ import annotations

import os
import signal
import subprocess
from importlib.util import find_spec

from contract.errors import UsageError
from contract.programs import Program, command_line
from contract.settings import Settings


def run_program(settings: Settings, program: Program, arguments: list[object], stdin: bytes | None = None) -> int:
    """Run `program` in a process of its own, with these settings; return its exit code.

    SIGTERM is passed on to it; Ctrl-C reaches it by itself. What it has to end in order, it ends before this returns.
    Raises UsageError when torch is not installed.
    """
    if find_spec("torch") is None or find_spec("training") is None:
        raise UsageError("this needs torch, which is not installed; pip install 'respool[worker]' brings it.")
    environment = {**os.environ, **settings.environment()}
    process = subprocess.Popen(
        command_line(program, *arguments), env=environment, stdin=None if stdin is None else subprocess.PIPE
    )
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT,)}
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        process.communicate(stdin)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
