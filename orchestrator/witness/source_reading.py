"""The witness of decoding: one plain sequential decode of a film's source, whose fingerprints are kept in the store.

It runs beside the enhancing. Its reading is an object of its own, so that a crash costs no more than another decode.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import BinaryIO, Literal

import msgspec
import numpy as np
from msgspec import Struct

from contract import keys
from contract.documents import decode, encode
from contract.film import FilmIndex
from contract.job import Item, Job, Natural, Plan
from contract.piece import Piece
from media.columns import pack, unpack
from media.demuxing import only
from media.fingerprints import ffv1_fingerprint, fingerprint, pack_prints, unpack_prints
from media.opening import open_media
from media.piece import window_of
from media.plain_decode import NO_TIME, Look, read_file
from orchestrator.ingest.job import open_source
from orchestrator.witness.expectation import Heard
from stores.object_store import ObjectStore

BEYOND = 64
"""Frames after a piece that are decoded too, and before it in which complaints count: more than any reordering."""
LEAST_SAMPLE = 500
"""Frames that `--witness sample` decodes at least; of longer films it is the first tenth."""


class SoundReading(Struct, frozen=True, forbid_unknown_fields=True):
    """Sound of a source: samples a channel, and how often the decoder complained."""

    stream: Natural
    codec: str
    samples: Natural
    complained: Natural


class SourceReading(Struct, frozen=True, forbid_unknown_fields=True):
    """Fingerprints of a film's frames in output order, and the decoder's complaints, each with the frames before it.

    `whole` is False where only the beginning was decoded. `failed` is the reason why there is no reading.
    """

    prints: bytes = b""
    trouble: tuple[tuple[int, str], ...] = ()
    sound: tuple[SoundReading, ...] = ()
    whole: bool = True
    frames: Natural = 0
    cpu_s: float = 0.0
    failed: str = ""
    times: bytes = b""
    """Of the frames as they came out, in `base` seconds, NO_TIME for those without; none in readings of older versions."""
    base: tuple[Natural, Natural] = (0, 1)
    version: Literal[1] = 1

    @property
    def complete(self) -> bool:
        """False for a reading of an older version, which kept no times."""
        return bool(self.failed or self.times)


def read_source(
    source: BinaryIO, index: FilmIndex, choice: str, what: str, checkpoint: Callable[[], None], threads: int = 1
) -> SourceReading:
    """Decode `source` from its start, all of it or what `choice` (``full`` or ``sample``) asks for."""
    began = time.process_time()
    make = ffv1_fingerprint if index.lossless else fingerprint
    sound = {s.index for s in index.streams if s.kind == "audio" and s.copied} if threads == 1 else set()
    limit = None if choice == "full" else max(LEAST_SAMPLE, index.frames // 10)
    if index.piece is not None:
        limit = _last_needed(index.piece, limit)
    decoded = frozenset((index.stream, *sound))
    look = Look(
        {index.stream: make}, decoded, limit, threads, checkpoint, trimmed=_converted(index), window=window_of(index)
    )
    with open_media(source, what) as container:
        reading = read_file(container, look)
    film = reading.streams[index.stream]
    trouble = list(film.complaints)
    if reading.broken:
        trouble.append((film.frames, f"the file breaks off here ({reading.broken})"))
    heard = [reading.streams[n] for n in sorted(sound)] if reading.whole else []
    found = SourceReading(
        prints=pack_prints(np.array(film.prints, np.uint32)),
        trouble=tuple(trouble),
        sound=tuple(SoundReading(s.index, s.codec, s.samples, s.complained) for s in heard),
        whole=reading.whole,
        frames=film.frames,
        cpu_s=round(time.process_time() - began, 3),
        times=pack(list(film.times)),
        base=(film.base.numerator, film.base.denominator),
    )
    return found if index.piece is None else within_piece(found, index.piece)


def _last_needed(piece: Piece, frames: int | None) -> int | None:
    """Return after how many frames a plain decode has those of a piece, or the first `frames` of it; None for all of the source."""
    if frames is not None:
        return piece.first + min(frames, piece.frames + BEYOND)
    return None if piece.end is None else piece.first + piece.frames + BEYOND


def within_piece(reading: SourceReading, piece: Piece) -> SourceReading:
    """Return the part of a plain decode from the source's start that is a piece of it.

    Its frames are found by their times, and not by the numbers that the plan gave them. Only where the decoder gives frames
    without times they are counted.
    """
    times = unpack(reading.times)
    if (times == NO_TIME).any():
        inside = np.arange(len(times)) >= piece.first
        inside &= np.arange(len(times)) < piece.first + piece.frames
        ended = len(times) >= piece.first + piece.frames
    else:
        base = Fraction(*reading.base)
        start, end = piece.window
        inside = np.ones(len(times), dtype=bool) if start is None else times >= math.ceil(start / base)
        beyond = np.zeros(len(times), dtype=bool) if end is None else times >= math.ceil(end / base)
        inside, ended = inside & ~beyond, bool(beyond.any())
    first = int(inside.argmax()) if inside.any() else len(times)
    trouble = ((at - first, words) for at, words in reading.trouble if at >= first - BEYOND)
    return msgspec.structs.replace(
        reading,
        prints=pack_prints(unpack_prints(reading.prints)[inside]),
        trouble=tuple((max(0, at), words) for at, words in trouble),
        whole=reading.whole or ended,
        frames=int(np.count_nonzero(inside)),
        times=pack(times[inside]),
    )


def _converted(index: FilmIndex) -> frozenset[int]:
    """Return the streams of sound that are decoded and encoded again, without what is not to be heard of them."""
    return frozenset(s.index for s in index.streams if s.converted)


def read_copies(
    source: BinaryIO, index: FilmIndex, streams: Collection[int], what: str, checkpoint: Callable[[], None]
) -> dict[int, Heard]:
    """Decode `streams`, which the result has copies of, from the source, read without what is not copied.

    A demuxer may give more of a damaged file's sound where it need not read the pictures.
    """
    if not streams:
        return {}
    copied = {s.index for s in index.streams if s.copied and s.kind != "attachment"}
    look = Look(decoded=frozenset(streams), checkpoint=checkpoint, trimmed=_converted(index), window=window_of(index))
    with open_media(source, what) as container:
        only(container, copied | set(streams) | ({index.stream} if index.joins else set()))
        found = read_file(container, look).streams
    return {n: Heard(found[n].samples, found[n].complained, found[n].frames) for n in streams}


def count_packets(
    source: BinaryIO, index: FilmIndex, streams: Collection[int], what: str, checkpoint: Callable[[], None]
) -> dict[int, int]:
    """Count the packets of `streams` that the result is to have, without decoding anything."""
    if not streams:
        return {}
    with open_media(source, what) as container:
        look = Look(decoded=frozenset(), everything=True, checkpoint=checkpoint, window=window_of(index))
        found = read_file(container, look).streams
    return {n: found[n].listed for n in streams}


def read_sources(
    job: Job,
    plan: Plan,
    storage: ObjectStore,
    checkpoint: Callable[[], None],
    refused: Mapping[int, str] = MappingProxyType({}),
    begin: Callable[[int], None] = lambda _: None,
) -> None:
    """Read all films of a job that have no reading yet; those in `refused` crashed an earlier process, and get the reason."""
    for number, sha256 in unread(job, plan, storage):
        if number in refused:
            storage.put(keys.witness(job.id, number, sha256), encode(SourceReading(failed=refused[number])))
            continue
        begin(number)
        stored_reading(job, job.items[number], sha256, storage, checkpoint)


def unread(job: Job, plan: Plan, storage: ObjectStore) -> list[tuple[int, str]]:
    """Return the films that are still to be read: items and the SHA-256 of their indexes."""
    if job.spec.witness == "off":
        return []
    return [(n, sha256) for n, sha256 in plan.indexes if not storage.exists(keys.witness(job.id, n, sha256))]


def stored_reading(
    job: Job,
    item: Item,
    sha256: str,
    storage: ObjectStore,
    checkpoint: Callable[[], None],
    index: FilmIndex | None = None,
) -> SourceReading:
    """Return the reading of a film whose index has `sha256`, made now where there is none yet, or one of an older version."""
    key = keys.witness(job.id, item.n, sha256) if sha256 else ""
    found = storage.find(key) if key else None
    if found is not None and (known := decode(found, SourceReading, key)).complete:
        return known
    if index is None:
        index_key = keys.index(job.id, item.n, sha256)
        index = decode(storage.get(index_key), FilmIndex, index_key)
    source = io.BufferedReader(open_source(storage, job, item), 1 << 20)
    reading = read_source(source, index, job.spec.witness, item.name, checkpoint)
    if key:
        storage.put(key, encode(reading))
    return reading
