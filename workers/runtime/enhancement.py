"""Enhancement of a leased chunk: load the networks, compute and store the attempt, write its record."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

from contract.job import Chunk, Done
from stores.ledger import Ledger
from stores.storage import Storage
from workers.film.share import Share
from workers.runtime import imports
from workers.runtime.attempt_record import AttemptRecord
from workers.runtime.film_attempt import FilmAttempt
from workers.runtime.heartbeat import HeldLease
from workers.runtime.image_attempt import ImageAttempt
from workers.runtime.job_cache import JobCache, JobFile
from workers.runtime.metrics import Meter


class Enhancement:
    """The part of a worker process that handles frames and images."""

    def __init__(self, storage: Storage, ledger: Ledger, cache: JobCache, meter: Meter) -> None:
        self._ledger, self._cache, self._meter = ledger, cache, meter
        self._film = FilmAttempt(storage)
        self._images = ImageAttempt(storage, ledger, cache)

    def make(self, held: HeldLease, file: JobFile, chunk: Chunk, share: Share) -> Generator[None, None, Done]:
        """Enhance `chunk` with its `share` of the worker, store its results as an attempt, and return the document to commit.

        Yields where the networks have done their part: the rest may run in another thread, beside the next chunk.
        """
        lease = held.lease
        record = AttemptRecord()
        spec = file.job.spec
        self._meter.start_attempt(spec.model)
        # Before this worker decides how the network is computed.
        self._cache.encoders.agree(file.job, file.fingerprint, chunk)
        unchanged = chunk.kind == "video" and spec.model == "identity" and spec.faces is None
        _import(chunk.kind, generators=not unchanged)
        enhancer = None if unchanged else self._cache.enhancer(lease.job, spec)  # copying frames needs no generator
        if enhancer is not None:
            enhancer.stop_by(held.checkpoint)
        faces = self._cache.faces(spec)
        record.loaded()
        with tempfile.TemporaryDirectory(prefix="attempt-", dir=self._cache.own) as folder:
            if enhancer is None or chunk.kind == "video":
                stored = yield from self._film.make(held, chunk, spec, (enhancer, faces), Path(folder), share)
            else:
                stored = self._images.make(held, chunk, file.job, (enhancer, faces), Path(folder))
        done, seconds = record.complete(stored, enhancer, self._ledger.reasons(lease.job, lease.chunk))
        self._meter.attempt_stored(spec.model, done, seconds)
        return done


def _import(kind: str, generators: bool) -> None:
    with imports.whole():
        if generators:
            import workers.generators.registry
        if kind == "video":
            import workers.film.chunk
        else:
            import workers.images.image  # noqa: F401
