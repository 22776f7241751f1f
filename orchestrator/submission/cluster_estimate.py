"""The estimate of a job on a cluster before it starts: time, cost and storage, from what is known of a device's pace. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from contract.film import FilmIndex
from contract.job import Codec
from orchestrator.ingest.job import GROUP_PIXELS
from orchestrator.past_pace import Work, working_seconds
from orchestrator.submission.expected_size import picture_bytes
from orchestrator.submission.outlook import FilmOutlook
from orchestrator.submission.published_pace import PUBLISHED

_LOSSLESS: Codec = "ffv1"
"""Codec of chunks that are cut by decoding."""


@dataclass(frozen=True)
class Pace:
    """Seconds of one worker for a megapixel that goes one way, as a range, and who tells."""

    least: float
    most: float
    told: str


@dataclass(frozen=True)
class Estimate:
    """The expected seconds of `workers` workers from the first chunk to the last, as a range, and who tells; `units` are chunks."""

    least: float
    most: float
    workers: int
    units: int
    told: str

    def cost(self, price: float) -> tuple[float, float]:
        """Return what the workers cost at `price` an hour each, held until the last chunk has ended."""
        return self.least / 3600 * self.workers * price, self.most / 3600 * self.workers * price


def known_pace(way: str, past: Sequence[Work], gpu: str | None) -> Pace | None:
    """Return the pace of a `way` on devices whose names contain `gpu` (any, where it is None); None where nothing tells it.

    Jobs of the same cluster go before published measurements, which are told by a device's name only.
    """
    own = [work for work in past if gpu is None or gpu.lower() in work.device.lower()]
    found = working_seconds(own, [(way, 1.0)])
    if found is not None:
        least, most, jobs = found
        devices = sorted({work.device for work in own if work.way == way})
        return Pace(least, most, f"{jobs} past job{'' if jobs == 1 else 's'} on {', '.join(devices)}")
    if not gpu:
        return None
    for known in PUBLISHED:
        if known.way == way and gpu.lower() in known.device.lower():
            return Pace(known.least, known.most, f"{known.device} in {known.source}")
    return None


def units_of(films: Sequence[FilmOutlook], image_megapixels: float) -> dict[str, list[float]]:
    """Return the megapixels of each unit of work by kind: the chunks of films, and groups of images of about the size that ingest makes."""
    chunks = [chunk.count * film.index.width * film.index.height / 1e6 for film in films for chunk in film.index.chunks]
    groups = math.ceil(image_megapixels * 1e6 / GROUP_PIXELS)
    return {"video": chunks, "image": [image_megapixels / groups] * groups if groups else []}


def estimate(units: Sequence[tuple[Sequence[float], Pace]], workers: int) -> Estimate:
    """Return the time of `workers` workers for `units`: the megapixels of the chunks of each kind, with their pace."""
    least = [size * pace.least for sizes, pace in units for size in sizes]
    most = [size * pace.most for sizes, pace in units for size in sizes]
    told = "; ".join(dict.fromkeys(pace.told for _, pace in units))
    return Estimate(_span(least, workers), _span(most, workers), workers, len(least), told)


def _span(seconds: Sequence[float], workers: int) -> float:
    """Return when the last of `workers` is done, if each takes the next chunk when it is free."""
    free = [0.0] * workers
    for spent in seconds:
        heapq.heapreplace(free, free[0] + spent)
    return max(free)


def stored_bytes(films: Sequence[FilmOutlook], sources: int) -> tuple[int, int]:
    """Return the least and most bytes in the store at the end: sources, films' chunks before and after, and finished films.

    `sources` are the bytes of all sources. Results of images are not estimated.
    """
    inputs = sum(_run_bytes(film.index, film.size) for film in films)
    low, high = (sum(sizes) for sizes in zip(*(film.expected for film in films), strict=True)) if films else (0, 0)
    return sources + inputs + 2 * low, sources + inputs + 2 * high


def _run_bytes(index: FilmIndex, size: int) -> int:
    """Return the bytes of a film's chunks as workers get them: its own packets, or FFV1 where it is cut by decoding."""
    if index.piece is not None:
        size = size * index.piece.frames // index.piece.of
    own = max(0, size - sum(stream.size for stream in index.streams))
    if not index.lossless:
        return own
    same = msgspec.structs.replace(index.encoding, codec=_LOSSLESS, width=index.width, height=index.height)
    return picture_bytes(same, (index.width, index.height), index.frames, own)[1]
