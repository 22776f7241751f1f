"""Encoders of cards in a worker: which there are, and whether their headers are those that a job was begun with."""

from __future__ import annotations

import ctypes
import io
import os
import threading

from contract import keys
from contract.documents import decode, encode
from contract.encoder_headers import EncoderHeaders, encoding_sha256
from contract.errors import CannotServe
from contract.film import Encoding
from contract.job import Chunk, Job
from contract.packets import RunReader
from media import nvenc
from stores.processes import death_signal
from stores.storage import Storage
from workers.runtime import imports

_LIBRARY = "libnvidia-encode.so.1"
"""The library of NVIDIA's driver for Linux that FFmpeg loads; without it no trial is worth its start."""
_KEPT = 256


class CardEncoders:
    """The encoders of a worker's card. `agree` is for the worker's own thread; `look` and `told` are for any."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._agreed: set[tuple[str, str, int]] = set()
        """Jobs, their plans' fingerprints, and items whose headers are agreed on."""
        self._able: list[str] | None = None

    def look(self) -> None:
        """Find out in the background which encoders the card has."""
        threading.Thread(target=self._look, name="card-encoders", daemon=True).start()

    def _look(self) -> None:
        if not _driver():
            self._able = []
            return
        from media.encoder_trial import small, try_encoder

        die = death_signal(os.getpid())
        self._able = [codec for codec in nvenc.ENCODERS if not try_encoder(small(codec), die).problem]

    def told(self) -> dict[str, object]:
        """Return what the list of workers shows: the encoders; nothing while that is not known."""
        return {} if self._able is None else {"encoders": self._able}

    def agree(self, job: Job, plan: str, chunk: Chunk) -> None:
        """Make sure that this worker encodes `chunk` with the headers of the job's other chunks of its encoding.

        The first worker that can encode it decides on the headers. `plan` is the plan's fingerprint. Raises CannotServe where
        the encoder cannot be used here, or writes other headers. Nothing happens for encoders that need no card.
        """
        if chunk.kind != "video" or job.spec.codec not in nvenc.ENCODERS:
            return
        known = (job.id, plan, chunk.item)
        if known in self._agreed:
            return
        with imports.whole():
            from media.encoder_trial import try_encoder
        encoding = self._encoding(job.id, chunk)
        trial = try_encoder(encoding, death_signal(os.getpid()))
        if trial.problem:
            raise CannotServe(f"{encoding.codec} cannot be used on {os.uname().nodename}: {trial.problem}.")
        self._compare(keys.encoder_headers(job.id, encoding_sha256(encoding)), trial.headers, encoding)
        if len(self._agreed) >= _KEPT:
            self._agreed.clear()
        self._agreed.add(known)

    def _compare(self, key: str, headers: str, encoding: Encoding) -> None:
        own = EncoderHeaders(headers, os.uname().nodename)
        if self._storage.put(key, encode(own), if_absent=True):
            return
        first = decode(self._storage.get(key), EncoderHeaders, key)
        if first.headers != headers:
            raise CannotServe(
                f"{encoding.codec} on {own.worker} writes other headers than on {first.worker}, where the film was begun; "
                "use workers with one kind of card and one driver."
            )

    def _encoding(self, job: str, chunk: Chunk) -> Encoding:
        key = keys.run(job, chunk.item, chunk.input) if chunk.input else keys.chunk_input(job, chunk.n)
        with io.BufferedReader(self._storage.open(key)) as stream:
            return RunReader(stream).header.encoding


def _driver() -> bool:
    """Return whether the driver's library of encoders is here."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True
