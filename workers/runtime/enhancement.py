"""Enhancing a chunk that is leased: load the networks, make and store the attempt, write its record."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from contract.job import Chunk, Done
from stores.ledger import Lease, Ledger
from stores.storage import Storage
from workers.checkpoint import Checkpoint
from workers.runtime.attempt_record import AttemptRecord
from workers.runtime.film_attempt import FilmAttempt
from workers.runtime.image_attempt import ImageAttempt
from workers.runtime.job_cache import Desk, JobFile
from workers.runtime.metrics import Meter


class Enhancement:
    """The part of a worker process that handles frames and images."""

    def __init__(self, storage: Storage, ledger: Ledger, desk: Desk, meter: Meter, checkpoint: Checkpoint) -> None:
        self._ledger, self._desk, self._meter = ledger, desk, meter
        self._film = FilmAttempt(storage, checkpoint)
        self._images = ImageAttempt(storage, ledger, desk, checkpoint)

    def make(self, lease: Lease, file: JobFile, chunk: Chunk) -> Done:
        """Enhance `chunk`, store its results as an attempt and return what is to be committed."""
        record = AttemptRecord()
        spec = file.job.spec
        self._meter.takes(spec.model)
        passes = chunk.kind == "video" and spec.model == "identity" and spec.faces is None
        enhancer = None if passes else self._desk.enhancer(spec)  # nothing is loaded to copy frames
        faces = self._desk.faces(spec)
        record.loaded()
        with tempfile.TemporaryDirectory(prefix=f"respool-{os.getpid()}-", dir=self._desk.scratch) as folder:
            if enhancer is None or chunk.kind == "video":
                made = self._film.make(lease, chunk, spec, (enhancer, faces), Path(folder))
            else:
                made = self._images.make(lease, chunk, file.job, (enhancer, faces), Path(folder))
        done, seconds = record.complete(made, enhancer, self._ledger.reasons(lease.job, lease.chunk))
        self._meter.made(spec.model, done, seconds)
        return done
