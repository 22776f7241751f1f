"""What processes with a fault note down in the rig's folder (testkit/faults): each start of a chunk, each ring's cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Start:
    """A worker began to compute a chunk; `at` is in seconds since the epoch."""

    chunk: int
    at: float


@dataclass(frozen=True)
class Ring:
    """A message that a worker took: what became of it, and what it cost in seconds."""

    chunk: int
    verdict: str
    seconds: float


def starts(folder: Path) -> list[Start]:
    """Every computation of a chunk so far, in order."""
    return [Start(int(chunk), float(at)) for chunk, at in _lines(folder / "starts")]


def rings(folder: Path) -> list[Ring]:
    """Every message that was worked on to its end so far."""
    return [Ring(int(chunk), verdict, float(s)) for chunk, verdict, s in _lines(folder / "rings")]


def repeated(folder: Path, chunks: set[int], since: float) -> int:
    """How many computations of `chunks` began after `since`: of committed ones there must be none."""
    return sum(start.chunk in chunks and start.at > since for start in starts(folder))


def surplus(folder: Path) -> tuple[int, int, float, float]:
    """(computations beyond one a chunk, messages beyond one a chunk, their seconds, all seconds)."""
    computed = Counter(start.chunk for start in starts(folder))
    best: dict[int, float] = {}
    heard = rings(folder)
    for ring in heard:
        if ring.verdict == "done":
            best[ring.chunk] = max(best.get(ring.chunk, 0.0), ring.seconds)
    whole = sum(ring.seconds for ring in heard)
    return (
        sum(computed.values()) - len(computed),
        len(heard) - len(best),
        whole - sum(best.values()),
        whole,
    )


def _lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
