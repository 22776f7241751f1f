"""Jobs of the embedded cluster that a `respool run` attends: parked when its command ends, whatever ends it.

Each such job has a file below ``attended/`` in the state folder, locked (flock) by the command as long as it lives. A file that nobody
holds is a job whose command was killed; the next `run` parks it.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from contract.errors import RespoolError, Unreachable
from orchestrator.jobs.client import Jobs

logger = logging.getLogger(__name__)


@contextmanager
def attending(jobs: Jobs, job: str, state: Path | None) -> Iterator[None]:
    """Attend `job` for the length of the context, then park it if it has not ended.

    `state` is the embedded cluster's folder; with None, for a real cluster, a killed command leaves its job running.
    """
    held = None if state is None else _hold(_folder(state) / job)
    try:
        yield
    finally:
        alone = held is None or _upgrade(held)  # another run of the same command may attend the job, too
        if alone and park(jobs, job) and state is not None:
            (_folder(state) / job).unlink(missing_ok=True)
        if held is not None:
            held.close()


def park(jobs: Jobs, job: str) -> bool:
    """Pause `job` unless it has ended; return False when Redis or S3 could not be told."""
    try:
        if jobs.status(job).state not in ("done", "failed", "cancelled"):
            jobs.control(job, paused=True)
    except Unreachable as error:
        logger.warning("job %s is not parked: %s", job, error, extra={"job": job})
        return False
    except RespoolError as error:  # it ended meanwhile
        logger.info("%s", error, extra={"job": job})
    return True


def park_abandoned(jobs: Jobs, state: Path) -> list[str]:
    """Park the jobs whose commands were killed; return their ids."""
    parked = []
    for path in sorted(_folder(state).iterdir()):
        with path.open("ab") as held:
            if _upgrade(held) and park(jobs, path.name):
                path.unlink(missing_ok=True)
                parked.append(path.name)
    return parked


def _folder(state: Path) -> Path:
    folder = state / "attended"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _hold(path: Path) -> BinaryIO:
    """Open and lock the file of a job; a file that another command removed meanwhile is made again."""
    while True:
        held = path.open("ab")
        fcntl.flock(held, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(held.fileno())):
                return held
        held.close()


def _upgrade(held: BinaryIO) -> bool:
    """Lock the file alone; return False where another command holds it."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
