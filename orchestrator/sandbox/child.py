"""The process that parses untrusted media for an orchestrator or a command: `python -m orchestrator.sandbox.child FD`.

Settings come by environment. It imports everything first, waits for one order on stdin, sets its limits, executes the
order, and reports on FD, one JSON object a line: {"item": n} when it starts an item, at the end {"ended": true}, with
the index of a film to be planned, or {"error": ..., "message": ...}. The parent learns of any other end from its exit.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from contract import logging, settings
from contract.documents import encode
from contract.errors import RespoolError
from contract.job import Item, Spec
from contract.settings import Settings
from orchestrator.assemble.job import Assembly
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.job import ingest
from orchestrator.job_store import Records
from orchestrator.sandbox.limits import Allowance
from orchestrator.witness.source_reading import read_sources
from stores.processes import die_with_parent
from stores.storage import Storage

_WITNESS_NICE = 10
"""The witness yields the processors to workers on the same machine, which it runs beside."""


class Film(Struct, frozen=True, forbid_unknown_fields=True):
    """A film on disk to be planned before there is a job. `path` need not be valid text."""

    path: bytes
    item: Item
    spec: Spec
    scale: int


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to the process; `refused` are items that killed an earlier process, with the reason."""

    act: str
    job: str = ""
    refused: dict[int, str] = {}
    film: Film | None = None


def main() -> None:
    """Execute one order, or nothing when the parent closes stdin first."""
    die_with_parent()
    known = settings.load()
    logging.configure(known)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    order = msgspec.json.decode(line, type=Order)
    if order.film is None:
        faulthandler.enable()  # a source that crashes a library leaves a traceback in the orchestrator's log
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as answer:
        try:
            _say(answer, {"ended": True, **_do(order, known, answer)})
        except (RespoolError, MemoryError) as error:
            _say(answer, {"error": type(error).__name__, "message": str(error)})
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            what = f"the orchestrator's disk is full ({error}); free some of it or name another with RESPOOL_SCRATCH"
            _say(answer, {"error": "PermanentError", "message": f"{what}, then `respool retry {order.job}`."})


def _do(order: Order, known: Settings, answer: BinaryIO) -> dict[str, object]:
    allowance = Allowance(known)

    def begin(item: int) -> None:
        _say(answer, {"item": item})
        allowance.begin()

    if order.film is not None:
        film = order.film
        begin(film.item.n)
        with Path(os.fsdecode(film.path)).open("rb") as source:
            index = plan_film(source, film.item, film.spec, film.scale, allowance.step)
        return {"index": encode(index).decode()}
    records = Records(Storage(known))
    job = records.job(order.job)
    if order.act == "ingest":
        ingest(job, records.storage, known, allowance.step, order.refused, begin)
        return {}
    plan = records.planned(order.job, records.control(order.job))
    if order.act == "witness":
        if plan is not None:
            os.nice(_WITNESS_NICE)
            read_sources(job, plan, records.storage, allowance.step, order.refused, begin)
        return {}
    if plan is not None and records.manifest(order.job) is None:
        Assembly(job, plan, records, known).run(_nothing)
    return {}


def _nothing() -> None:
    """Do nothing at a checkpoint: the parent ends this process when it must stop."""


def _say(answer: BinaryIO, message: dict[str, object]) -> None:
    answer.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
