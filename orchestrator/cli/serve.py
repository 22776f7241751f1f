"""respool worker, respool orchestrator: run one process of a cluster in the foreground."""

from __future__ import annotations

import os
import signal
import sys
import threading

from contract.errors import UsageError
from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.cli.common import command, connected


@command()
def orchestrator(settings: Settings) -> None:
    """Run an orchestrator until SIGTERM or Ctrl-C.

    It finishes or hands over its work first. Several may run at once on one cluster.
    """
    from contract import logging
    from orchestrator.service.loop import serve

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.configure(settings)
    with connected(settings) as wired:
        serve(wired, stop)


@command()
def worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    It needs the package's [worker] extra. The worker is a program of its own that replaces this process: the command
    line never loads torch.
    """
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("workers") is None:
        raise UsageError("a worker needs torch, which is not installed; pip install 'respool[worker]' brings it.")
    with connected(settings) as wired:
        environment = {**os.environ, **wired.environment()}
    os.execve(sys.executable, command_line(Program.WORKER), environment)  # noqa: S606 - this very interpreter
