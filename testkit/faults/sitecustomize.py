"""Faults at exact lines, for trust tests: put this folder on PYTHONPATH and name one in RESPOOL_FAULT.

RESPOOL_FAULT=<name>:<folder> fires once for the whole cluster (the first process to make <folder>/<name> wins), apart
from those that last: `poison-3` fails every attempt at chunk 3, `slow-0.5` makes every film chunk take that many seconds
longer, `poison-3-slow-0.5` is both, `storm-0.3` does so with jumping clocks and full disks, `twice-0.5` with every message sent twice, and `next-0.5`
makes a process the next version of Respool: its messages and documents are of version 3, with a field that version 2 has
not, and it reads both. `rank-at-3` kills the second process of a training group after its third step. `armed-0.5` hurts a worker whenever <folder>/arm says how and where, such as "term storing".
`hungry` and `killed` are those of heavy.py: sources that need much memory, and sources over which readers are killed.
`planted` installs the faults of planted.py, which <folder>/planted chooses from.

Workers also note in <folder>/starts and <folder>/messages the computations that they began and the messages that they
took (benchmarks/reliability/observations.py).
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import threading
import time
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from contract.programs import Program

_ORCHESTRATOR = Program.COMMAND_LINE in sys.orig_argv and sys.orig_argv[-1] == "orchestrator"
"""True in an orchestrator; it stores what its processes for media make."""


def _once() -> bool:
    name, _, folder = os.environ["RESPOOL_FAULT"].partition(":")
    try:
        (Path(folder) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _storm(module: ModuleType) -> None:
    """Besides being slow: clocks that jump by minutes, and a disk that is full now and then."""
    clock, rng = time.time, random.Random()
    jump = rng.uniform(-600, 600)
    time.time = lambda: clock() + jump

    def full(*_: Any, **__: Any) -> None:
        if rng.random() < 0.05:
            raise OSError(errno.ENOSPC, "No space left on device", "scratch")

    _wrap(module.Storage, "get_file", before=full)


def _note(name: str, *words: object) -> None:
    """Append a line to a file of the cluster's folder; lines of several processes do not mix."""
    path = Path(os.environ["RESPOOL_FAULT"].partition(":")[2]) / name
    with path.open("ab", buffering=0) as stream:
        stream.write(("\t".join(map(str, words)) + "\n").encode())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrap(owner: Any, method: str, before: Any = None, after: Any = None) -> None:
    whole = getattr(owner, method)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, **kwargs)
        result = whole(*args, **kwargs)
        if after is not None:
            after(*args, **kwargs)
        return result

    setattr(owner, method, wrapped)


def _observe_messages(worker: Any) -> None:
    """Note each message with its outcome."""
    work = worker.work

    def timed(self: Any, job: str, chunk: int) -> Any:
        began = time.monotonic()
        verdict = work(self, job, chunk)
        _note("messages", chunk, verdict, time.monotonic() - began)
        return verdict

    worker.work = timed


def _arm(module: ModuleType) -> None:
    """Read <folder>/arm in every phase of a chunk; the worker it names removes the file and is injured."""
    folder = Path(os.environ["RESPOOL_FAULT"].partition(":")[2])
    held = threading.local()  # a thread that finishes a chunk holds another one than the task

    def look(phase: str) -> None:
        try:
            how, where = (folder / "arm").read_text().split()
            if where != phase:
                return
            (folder / "arm").rename(folder / f"taken-{os.getpid()}")
        except FileNotFoundError:
            return
        (folder / "firing").write_text(f"{os.getpid()} {held.chunk}")
        (folder / "firing").rename(folder / "fired")
        if how == "kill":
            os.kill(random.choice((os.getpid(), os.getppid())), signal.SIGKILL)
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.5)  # the phase lasts while the word goes round

    def claimed(_self: Any, attempt: Any) -> None:
        held.chunk = attempt.held.lease.chunk
        look("claimed")

    def passed_on(_self: Any, attempt: Any, *_: Any) -> None:
        held.chunk = attempt.held.lease.chunk

    def fetched(_self: Any, key: str, *_: Any) -> None:
        if "/runs/" in key:
            look("fetched")

    _wrap(module.Worker, "_attempt", before=claimed)
    _wrap(module.Worker, "_finish", before=passed_on)
    _wrap(module.Storage, "get_file", after=fetched)
    _wrap(module.HeldLease, "checkpoint", before=lambda *_: look("enhancing"))
    _wrap(module.Storage, "put_file", before=lambda *_: look("storing"))
    _wrap(module.Storage, "verify", before=lambda *_: look("verifying"))
    _wrap(module.Worker, "_commit", before=lambda *_: look("committing"))
    _wrap(module.Worker, "_settle", before=lambda *_: look("committed"), after=lambda *_: look("told"))


def _die_once(*_: Any, **__: Any) -> None:
    if _once():
        _die()


def _die_at(ending: str) -> Any:
    return lambda _self, key, *_a, **_k: _die_once() if key.endswith(ending) else None


def _patch_worker(module: ModuleType, name: str) -> None:
    """Faults between the claim of a chunk and its end."""
    worker = module.Worker
    _observe_messages(worker)
    if name == "after-upload":
        _wrap(worker, "_commit", before=_die_once)
    elif name == "after-commit":
        _wrap(worker, "_settle", before=_die_once)
    elif name == "before-ack":
        _wrap(worker, "_settle", after=_die_once)
    elif name == "last-commit":

        def last(self: Any, lease: Any, *_: Any) -> None:
            if lease.chunk == self.cache.job(lease.job).plan.chunks[-1].n:
                _die_once()

        _wrap(worker, "_settle", before=last)
    elif name.startswith("poison-"):

        def poison(_self: Any, _held: Any, _file: Any, chunk: Any, *_: Any) -> None:
            if chunk.n == int(name.split("-")[1]):
                raise ValueError("poison")

        _wrap(worker, "_enhance", before=poison)
    if name.startswith("storm-"):
        _storm(module)
    if name.startswith("armed-"):
        _arm(module)


def _patch_film(module: ModuleType, name: str) -> None:
    """Faults while a chunk of a film is computed, each of which is noted."""
    attempt = module.FilmAttempt
    _wrap(attempt, "make", before=lambda _self, held, *_: _note("starts", held.lease.chunk, time.time()))
    if name == "hang":

        def hang(*_: Any, **__: Any) -> None:
            while _once():
                time.sleep(600)

        _wrap(attempt, "make", before=hang)
    elif name == "hang-hard":

        def hang_hard(*_: Any, **__: Any) -> None:
            fired = _once()
            while fired:
                try:
                    time.sleep(600)
                except Exception:
                    sys.stderr.write("the soft limit is ignored\n")

        _wrap(attempt, "make", before=hang_hard)
    elif name.startswith(("slow-", "storm-", "next-", "twice-", "armed-")) or "-slow-" in name:
        _wrap(attempt, "make", before=lambda *_a, **_k: time.sleep(float(name.rpartition("-")[2])))


def _patch_service(module: ModuleType, name: str) -> None:
    """Faults of the orchestrator itself."""
    if name == "in-dispatch":
        _wrap(module.Publisher, "publish", before=_die_once)
    elif name == "before-assembly":
        _wrap(module.Service, "_assemble", before=_die_once)
    elif name.startswith("twice-"):
        publish = module.Publisher.publish
        _wrap(module.Publisher, "publish", after=publish)


def _patch_storage(module: ModuleType, name: str) -> None:
    """Faults of an orchestrator at an object that it stores for its process for media, which dies with it."""
    storage = module.Storage
    if name == "in-ingest":
        stored: list[str] = []

        def fourth(_self: Any, key: str, *_: Any, **__: Any) -> None:
            stored.append(key)
            if sum("/runs/" in name for name in stored) == 4:
                _die_once()

        _wrap(storage, "write", before=fourth)
    elif name == "in-assembly":
        _wrap(storage, "put_file", after=_die_once)
    elif name == "asleep-in-assembly":

        def sleep_once(*_: Any, **__: Any) -> None:
            if _once():
                os.kill(os.getpid(), signal.SIGSTOP)

        _wrap(storage, "put_file", before=sleep_once)
    elif name == "before-manifest":
        _wrap(storage, "write", before=_die_at("/manifest.json"))
    elif name == "after-manifest":
        _wrap(storage, "write", after=_die_at("/manifest.json"))


def _patch_training(module: ModuleType, name: str) -> None:
    """Let a process of a training group die at a step."""
    if name.startswith("rank-at-"):

        def stepped(trainer: Any, *_: Any) -> None:
            if os.environ.get("RANK") == "1" and trainer.state.counts.step >= int(name.rpartition("-")[2]):
                _die_once()

        _wrap(module.Trainer, "_after", after=stepped)


def _patch_environment(module: Any, _name: str) -> None:
    """Let the process for media know the fault, too: it may be of the next version."""
    module.KEPT |= {"RESPOOL_FAULT"}


def _patch_confinement(module: Any, _name: str) -> None:
    """Let the process for media read which fault is active."""
    module.READABLE = (*module.READABLE, os.environ["RESPOOL_FAULT"].partition(":")[2])


def _patch_ingest(module: Any, name: str) -> None:
    """Faults over heavy sources."""
    import_module("heavy").patch(module, name)


_PATCHES = {
    "orchestrator.ingest.job": _patch_ingest,
    "stores.confinement": _patch_confinement,
    "orchestrator.sandbox.environment": _patch_environment,
    "workers.runtime.worker": _patch_worker,
    "workers.runtime.film_attempt": _patch_film,
    "orchestrator.service.loop": _patch_service,
    "stores.storage": _patch_storage,
    "training.loop": _patch_training,
}


_NEXT = {
    "contract.documents": {
        "VERSION: Literal[2] = 2": "VERSION: Literal[3] = 3",
        "KNOWN: tuple[int, ...] = (1, 2)": "KNOWN: tuple[int, ...] = (1, 2, 3)",
        "Version = Literal[1, 2]": "Version = Literal[1, 2, 3]",
    },
    "contract.job": {
        "version: Version = 2": "version: Version = 3",
        "bands: Positive = 1": "bands: Positive = 1; reels: Natural = 0",
    },
    "workers.runtime.worker": {'metadata.version("respool")': '"2.0.next"'},
}
"""Changes of a made-up next version: module -> (text, the text in its place)."""


class _NextLoader(SourceFileLoader):
    """Runs our own source with some words changed; nothing of it is kept as bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname) or ""
        for old, new in _NEXT[fullname].items():
            if old not in source:
                raise ImportError(f"{fullname} has no {old!r}; testkit/faults is to follow it")
            source = source.replace(old, new)
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Patches a module right after it was executed."""

    after = os.environ.get("RESPOOL_FAULT", "").startswith("next-")
    faulty = set(_PATCHES) if _ORCHESTRATOR else set(_PATCHES) - {"stores.storage"}
    defects = import_module("planted").PATCHES if os.environ.get("RESPOOL_FAULT", "").startswith("planted:") else {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        changed = self.after and name in _NEXT
        patch = _PATCHES[name] if name in self.faulty else None
        defect = self.defects.get(name)
        if patch is None and defect is None and not changed:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        if changed and spec.origin:
            spec.loader = _NextLoader(name, spec.origin)
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            if patch is not None:
                patch(module, os.environ["RESPOOL_FAULT"].partition(":")[0])
            if defect is not None:
                defect(module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


if os.environ.get("RESPOOL_FAULT"):
    sys.meta_path.insert(0, _Finder())
