"""The process that an orchestrator lets parse strangers' media: `python -m orchestrator.act FD`, settings by environment.

It imports everything first, waits for one order on stdin, sets itself limits, does it, and says on FD what became of it,
one JSON object a line: {"item": n} when it begins an item, at last {"ended": true} or {"error": ..., "message": ...}.
Whatever else happens to it, its parent sees by its end.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from contract import log, settings
from contract.errors import RespoolError
from contract.settings import Settings
from contract.storage import Storage
from orchestrator.assemble.job import Assembly
from orchestrator.ingest.job import ingest
from orchestrator.records import Records

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done; `refused` are items that killed an earlier process, with the reason."""

    act: str
    job: str
    refused: dict[int, str] = {}


def main() -> None:
    """Do one order, or nothing when the parent closes stdin first."""
    _die_with_parent()
    faulthandler.enable()  # a source that crashes a library leaves a trace in the orchestrator's log
    known = settings.load()
    log.configure(known)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    order = msgspec.json.decode(line, type=Order)
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as answer:
        try:
            _limit(known)
            _do(order, known, lambda item: _begin(item, known, answer))
            _say(answer, {"ended": True})
        except (RespoolError, MemoryError) as error:
            _say(answer, {"error": type(error).__name__, "message": str(error)})
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            what = f"the orchestrator's disk is full ({error}); free some of it or name another with RESPOOL_SCRATCH"
            _say(answer, {"error": "PermanentError", "message": f"{what}, then `respool retry {order.job}`."})


def _do(order: Order, known: Settings, begin: Callable[[int], None]) -> None:
    records = Records(Storage(known))
    job = records.job(order.job)
    if order.act == "ingest":
        ingest(job, records.storage, known, _nothing, order.refused, begin)
        return
    plan = records.plan(order.job)
    if plan is not None and records.manifest(order.job) is None:
        Assembly(job, plan, records, known).run(_nothing)


def _nothing() -> None:
    """Whether to stop is the parent's to know: it ends us."""


def _limit(known: Settings) -> None:
    """Memory, and no file larger than the free disk; processor time is given anew with each item."""
    if known.media_memory and sys.platform == "linux":  # elsewhere address space is no measure of memory
        resource.setrlimit(resource.RLIMIT_AS, (known.media_memory, known.media_memory))
    folder = known.scratch if known.scratch != Path() else Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free if folder.exists() else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _begin(item: int, known: Settings, answer: BinaryIO) -> None:
    """An item is next: say so, and give it its own share of processor time."""
    _say(answer, {"item": item})
    if known.media_cpu_s:
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + known.media_cpu_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))


def _say(answer: BinaryIO, message: dict[str, object]) -> None:
    answer.write(json.dumps(message).encode() + b"\n")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()
