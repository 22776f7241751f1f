"""One chunk, from ring to commit.

claim -> fetch -> enhance -> upload attempt -> read back -> PUT done.json If-None-Match -> ledger. Everything
before the PUT may be lost or done twice; everything after it can be made again from what the PUT wrote.
"""

from __future__ import annotations

import logging
import os
import resource
import tempfile
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contract import job as words
from contract import keys
from contract.errors import (
    Cancelled,
    Interrupted,
    LeaseLost,
    Newer,
    PermanentError,
    RespoolError,
    Unreachable,
)
from contract.job import Chunk, Damage, Done, Failed, Item, ItemFailure, Job, Output
from contract.provenance import making
from contract.settings import Settings
from stores.ledger import Lease, Ledger
from stores.storage import Storage
from workers.runtime.heartbeat import TOLD, Pulse
from workers.runtime.image_transfer import Exchange
from workers.runtime.job_cache import Desk, JobFile
from workers.runtime.metrics import Meter, gpu_memory

if TYPE_CHECKING:
    from workers.generators.enhancer import Enhancer
    from workers.images.image import ImageResult

logger = logging.getLogger(__name__)

VERSION = metadata.version("respool")


class _Winner(msgspec.Struct):
    """What must be known of a commit that came first, all later versions included."""

    attempt: str
    frames: int


class Worker:
    """What a pool process holds: connections, the loaded generator, and at most one lease."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = f"{os.uname().nodename}-{os.getpid()}"
        self.storage = Storage(settings)
        self.ledger = Ledger(settings)
        self.desk = Desk(settings, self.storage)
        self.pulse = Pulse(self.ledger, self.name, settings.lease_renew_s, self._info)
        self.meter = Meter(self.desk.scratch)
        self.idle = threading.Event()
        self.idle.set()
        self._lease: Lease | None = None
        self._label = ""
        self._taken = 0.0
        self._soft_limit = settings.chunk_soft_limit_s
        self._started = time.time()
        self._frames = 0
        self._fps = 0.0

    def start(self) -> None:
        """Begin to beat, and load what every generator needs while nothing else is to do."""
        self.pulse.start()
        self.desk.warm()

    def end(self) -> None:
        self.pulse.end()

    def hand_back(self) -> None:
        """The process is to end: give the chunk at hand back now, whatever the main thread is doing.

        An attempt that outlived its soft limit counts as failed: Celery ends the process of one that ignores it.
        """
        self.pulse.interrupt()
        lease = self._lease
        if lease is not None:
            overdue = time.monotonic() - self._taken >= self._soft_limit
            reason = f"it went on past its limit of {self._soft_limit:g} s and was ended"
            verdict = self.ledger.release(lease, reason if overdue else TOLD, counted=overdue)
            logger.info("handed back (%s)", verdict, extra=_about(lease))

    def work(self, job: str, chunk: int) -> str:
        """Do a chunk when it still needs doing; returns what became of it in one word."""
        try:
            self.desk.job(job)
        except Newer as error:  # nothing is claimed, so nothing is counted
            logger.warning("%s", error, extra={"job": job, "chunk": chunk})
            return "newer"
        except RespoolError:
            pass  # whatever else is wrong with it is the attempt's to say
        verdict, lease = self.ledger.claim(job, chunk, self.name)
        if lease is None:
            return verdict
        self.idle.clear()
        self._lease, self._taken = lease, time.monotonic()
        # Told to end before this: `hand_back` looked too early. A chunk whose message was taken and nothing done would wait for
        # `resend_s`; given back, it goes out again at once.
        if self.pulse.interrupted.is_set():
            self._lease = None
            self.idle.set()
            return self._give_back(lease, TOLD, counted=False)
        self.pulse.hold(lease)
        self.meter.begin()
        outcome = "crashed"
        try:
            outcome = self._attempt(lease)
            return outcome
        finally:
            self.meter.end(outcome)
            self.pulse.hold(None)
            self._lease, self._label = None, ""
            self.idle.set()

    def _attempt(self, lease: Lease) -> str:
        try:
            file = self.desk.job(lease.job)
            chunk = file.chunk(lease.chunk)
            if self.storage.exists(keys.done(lease.job, lease.chunk)):  # committed before Redis forgot it
                return self._settle(lease, chunk.count)
            self._label = chunk.label
            done = self._enhance(lease, file, chunk)
            return self._commit(lease, done)
        except (Interrupted, Cancelled, Unreachable, Newer) as error:
            return self._give_back(lease, str(error), counted=False)
        except LeaseLost as error:
            self._clean(lease)
            logger.warning("%s", error, extra=_about(lease))
            return "lost"
        except Exception as error:
            self.meter.failure(error)
            logger.exception("attempt failed", extra=_about(lease))
            return self._give_back(lease, f"{type(error).__name__}: {error}", counted=True)

    # Enhancing

    def _enhance(self, lease: Lease, file: JobFile, chunk: Chunk) -> Done:
        began, started = time.monotonic(), datetime.now(UTC)
        spec = file.job.spec
        self.meter.takes(spec.model)
        passes = chunk.kind == "video" and spec.model == "identity" and spec.faces is None
        enhancer = None if passes else self.desk.enhancer(spec)  # nothing is loaded to copy frames
        self.desk.faces(spec)
        loaded = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"respool-{os.getpid()}-", dir=self.desk.scratch) as folder:
            if enhancer is None or chunk.kind == "video":
                done = self._film(lease, file, chunk, enhancer, Path(folder))
            else:
                done = self._images(lease, file, chunk, enhancer, Path(folder))
        seconds = {"load": loaded - began, "whole": time.monotonic() - began}
        self._frames += done.frames
        self._fps = done.frames / max(seconds["whole"], 1e-3)
        stages = msgspec.json.decode(done.record["stages"]) if "stages" in done.record else {}
        self.meter.made(spec.model, done, {**stages, **seconds})
        record = {
            **done.record,
            "device": words.raw(enhancer.device if enhancer else "none"),
            "precision": words.raw(enhancer.precision if enhancer else "exact"),
            "backend": words.raw(enhancer.backend if enhancer else "none"),
            "reason": words.raw(enhancer.reason if enhancer else "frames are not touched"),
            "seconds": words.raw({name: round(value, 4) for name, value in seconds.items()}),
            "started": words.raw(started.isoformat(timespec="seconds")),
            "finished": words.raw(datetime.now(UTC).isoformat(timespec="seconds")),
            "versions": words.raw(_versions()),
            "peak_memory": words.raw(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
            "attempts": words.raw(self.ledger.reasons(lease.job, lease.chunk)),
        }
        return msgspec.structs.replace(done, record=record)

    def _film(self, lease: Lease, file: JobFile, chunk: Chunk, enhancer: Enhancer | None, folder: Path) -> Done:
        from workers.film.chunk import enhance_film

        run, out = folder / "run", folder / "out"
        began = time.monotonic()
        self.storage.get_file(keys.chunk_input(lease.job, chunk.n), run)
        fetched = time.monotonic()
        spec = file.job.spec
        made = enhance_film(run, spec, enhancer, out, self.pulse.checkpoint, self.desk.faces(spec))
        enhanced = time.monotonic()
        key = keys.attempt(lease.job, chunk.n, lease.attempt)
        sha256 = self.storage.put_file(key, out)
        self.storage.verify(key, sha256)
        stored = time.monotonic()
        output = Output(chunk.item, key, sha256, out.stat().st_size, made.frames, made.width, made.height)
        stages = {"fetch": fetched - began, "enhance": enhanced - fetched, "store": stored - enhanced}
        return Done(
            chunk=chunk.n,
            attempt=lease.attempt,
            worker=self.name,
            frames=made.frames,
            outputs=(output,),
            damage=tuple(Damage(chunk.item, first, count, reason) for first, count, reason in made.damage),
            notes=tuple(made.notes),
            reorder=made.reorder,
            record={"film": words.raw(made.record), "stages": words.raw(stages)},
        )

    def _images(self, lease: Lease, file: JobFile, chunk: Chunk, enhancer: Enhancer, folder: Path) -> Done:
        failures: list[ItemFailure] = []
        damage: list[Damage] = []
        notes: list[str] = []
        records: dict[str, object] = {}
        items = file.job.items[chunk.first : chunk.first + chunk.count]
        banded = chunk.bands > 1
        enhancing = 0.0
        with Exchange(self.storage, lease, folder) as exchange:
            coming = ((item, None) for item in items) if banded else exchange.sources(items)
            for item, source in coming:
                self.pulse.checkpoint()
                try:
                    path = self.desk.banded_source(lease.job, item) if source is None else source.result()
                    began = time.monotonic()
                    made = self._image(file.job, item, chunk, enhancer, path, exchange.out(item))
                except PermanentError as error:
                    if isinstance(error, Cancelled):
                        raise
                    failures.append(ItemFailure(item.n, item.name, str(error)))
                    continue
                except (RespoolError, OSError, MemoryError):
                    raise
                except (
                    Exception
                ) as error:  # of a library, over one picture: after a second try the others go on without it
                    if not self.ledger.tries(lease.job, lease.chunk):
                        raise
                    logger.exception("image given up", extra=_about(lease))
                    failures.append(ItemFailure(item.n, item.name, f"{type(error).__name__}: {error}"))
                    continue
                enhancing += time.monotonic() - began
                exchange.store(item, made.width, made.height)
                damage += [Damage(item.n, 0, 1, said) for said in made.damage]
                notes += [f"{item.name}: {note}" for note in made.notes]
                records[str(item.n)] = made.record
            outputs = exchange.stored()
        return Done(
            chunk=chunk.n,
            attempt=lease.attempt,
            worker=self.name,
            frames=chunk.count,
            outputs=outputs,
            failures=tuple(failures),
            damage=tuple(damage),
            notes=tuple(notes),
            record={"images": words.raw(records), "stages": words.raw({"enhance": enhancing})},
        )

    def _image(self, job: Job, item: Item, chunk: Chunk, enhancer: Enhancer, source: Path, out: Path) -> ImageResult:
        from workers.images.image import enhance_band, enhance_image

        if chunk.bands > 1:
            band = chunk.band, chunk.bands
            return enhance_band(source, item.result, job.spec, enhancer, out, self.pulse.checkpoint, band)
        says = making(job, item, enhancer.device, enhancer.precision, enhancer.backend)
        faces = self.desk.faces(job.spec)
        return enhance_image(source, item.result, job.spec, enhancer, out, self.pulse.checkpoint, says, faces)

    # Ending

    def _commit(self, lease: Lease, done: Done) -> str:
        self.pulse.renew()
        key = keys.done(lease.job, lease.chunk)
        if not self.storage.put(key, words.encode(done), if_absent=True):
            winner = msgspec.json.decode(self.storage.get(key), type=_Winner)  # of whatever version
            if winner.attempt != lease.attempt:
                self._clean(lease)
                self._settle(lease, winner.frames)
                return "lost"
        return self._settle(lease, done.frames)

    def _settle(self, lease: Lease, frames: int) -> str:
        self.ledger.settle(lease.job, lease.chunk, "done", frames)
        return "done"

    def _give_back(self, lease: Lease, reason: str, counted: bool) -> str:
        self._clean(lease)
        verdict = self.ledger.release(lease, reason, counted)
        if verdict != "exhausted":
            return "handed back" if verdict == "again" else verdict
        failed = Failed(lease.chunk, self.ledger.reasons(lease.job, lease.chunk))
        self.storage.put(keys.failed(lease.job, lease.chunk), words.encode(failed))
        self.ledger.settle(lease.job, lease.chunk, "failed")
        return "failed"

    def _clean(self, lease: Lease) -> None:
        """Remove what this attempt stored; it is nobody's. What cannot be removed now, `respool gc` removes."""
        try:
            for key, _ in self.storage.list(keys.attempt(lease.job, lease.chunk, lease.attempt)):
                self.storage.delete(key)
        except Exception as error:
            logger.warning("an attempt's objects stay behind: %s", error, extra=_about(lease))

    def _info(self) -> dict[str, object]:
        return {
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "started": self._started,
            "seen": time.time(),
            "job": lease.job if (lease := self._lease) else "",
            "chunk": self._label,
            "in_hand": self.pulse.in_hand,
            "chunk_s": time.monotonic() - self._taken,
            "frames": self._frames,
            "fps": round(self._fps, 3),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "gpu_memory": gpu_memory(),
            "version": VERSION,
            **self.desk.held(),
        }


def _about(lease: Lease) -> dict[str, object]:
    return {"job": lease.job, "chunk": lease.chunk, "attempt": lease.attempt}


_PACKAGES = ("respool", "torch", "openvino", "numpy", "av", "pyvips-binary", "opencv-python")
"""What the pixels of a result depend on."""


@lru_cache
def _versions() -> dict[str, str]:
    """Versions of the packages that made a result, for its record."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # a worker may be installed without it
    return found
