"""The process that parses untrusted media for an orchestrator or a command: `python -m orchestrator.sandbox.child FD CONTROL`.

It has no address, no key and no password: objects come from the parent through CONTROL, a socket, and so does a film that a
command looks at. It imports everything first, waits for one order on stdin, sets its limits, confines itself, executes
the order, and reports on FD, one JSON object a line: {"item": n} when it starts an item, at the end {"ended": true}, with
the index of a film to be planned, or {"error": ..., "message": ...}. The parent learns of any other end from its exit.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import socket
import sys
from typing import BinaryIO

import msgspec
from msgspec import Struct

import contract
import media
import orchestrator
import stores
import weights
from contract import logging, settings
from contract.documents import encode
from contract.errors import RespoolError
from contract.job import Item, Spec
from contract.settings import Settings
from orchestrator.assemble.job import Assembly
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.job import ingest
from orchestrator.job_store import Records
from orchestrator.witness.source_reading import read_sources
from stores.confinement import confine
from stores.lending.client import BorrowedStore
from stores.limits import Allowance
from stores.processes import die_with_parent

_PACKAGES = (contract, media, orchestrator, stores, weights)
"""Folders of our own code, some of which is imported late."""

_WITNESS_NICE = 10
"""The witness yields the processors to workers on the same machine, which it runs beside."""


class Film(Struct, frozen=True, forbid_unknown_fields=True):
    """A film on disk to be planned before there is a job; the open file comes through the socket."""

    item: Item
    spec: Spec


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to the process.

    `refused` are items that killed an earlier process, with the reason; `scale` is the factor of the job's generator.
    """

    act: str
    job: str = ""
    bucket: str = ""
    scale: int = 1
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
    control = socket.socket(fileno=int(sys.argv[2]))
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as answer, control:
        try:
            _say(answer, {"ended": True, **_do(order, known, control, answer)})
        except (RespoolError, MemoryError) as error:
            _say(answer, {"error": type(error).__name__, "message": str(error)})
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            what = f"the orchestrator's disk is full ({error}); free some of it or name another with RESPOOL_SCRATCH"
            _say(answer, {"error": "PermanentError", "message": f"{what}, then `respool retry {order.job}`."})


def _do(order: Order, known: Settings, control: socket.socket, answer: BinaryIO) -> dict[str, object]:
    if order.act == "witness":
        os.nice(_WITNESS_NICE)
    allowance = Allowance(known)
    confined = confine(known.scratch, _PACKAGES)
    if order.act == "none":
        return {"confined": confined}

    def begin(item: int) -> None:
        _say(answer, {"item": item})
        allowance.begin()

    if order.film is not None:
        film = order.film
        begin(film.item.n)
        with _lent(control) as source:
            index = plan_film(source, film.item, film.spec, order.scale, allowance.step)
        return {"index": encode(index).decode()}
    records = Records(BorrowedStore(control, order.bucket))
    job = records.job(order.job)
    if order.act == "ingest":
        ingest(job, records.storage, order.scale, allowance.step, order.refused, begin)
        return {}
    plan = records.planned(order.job, records.control(order.job))
    if plan is None:
        return {}
    if order.act == "witness":
        read_sources(job, plan, records.storage, allowance.step, order.refused, begin)
    elif records.manifest(order.job) is None:
        Assembly(job, plan, records, order.scale, known.scratch).run(_nothing)
    return {}


def _lent(control: socket.socket) -> BinaryIO:
    """Return the film that the parent has opened."""
    _, files, _, _ = socket.recv_fds(control, 1, 1)
    return os.fdopen(files[0], "rb")


def _nothing() -> None:
    """Do nothing at a checkpoint: the parent ends this process when it must stop."""


def _say(answer: BinaryIO, message: dict[str, object]) -> None:
    answer.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
