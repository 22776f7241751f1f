"""Notes that processes with a fault write into the cluster's folder (testkit/faults): starts of chunks, costs of messages."""

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
class Message:
    """A message that a worker took: its outcome and its cost in seconds."""

    chunk: int
    verdict: str
    seconds: float


def starts(folder: Path) -> list[Start]:
    """List every computation of a chunk so far, in order."""
    return [Start(int(chunk), float(at)) for chunk, at in _lines(folder / "starts")]


def messages(folder: Path) -> list[Message]:
    """List every message that was worked on to its end so far."""
    return [Message(int(chunk), verdict, float(s)) for chunk, verdict, s in _lines(folder / "messages")]


def repeated(folder: Path, chunks: set[int], since: float) -> int:
    """Count the computations of `chunks` that began after `since`: of committed chunks there must be none."""
    return sum(start.chunk in chunks and start.at > since for start in starts(folder))


def surplus(folder: Path) -> tuple[int, int, float, float]:
    """Return (computations beyond one per chunk, messages beyond one per chunk, their seconds, all seconds)."""
    computed = Counter(start.chunk for start in starts(folder))
    best: dict[int, float] = {}
    heard = messages(folder)
    for message in heard:
        if message.verdict == "done":
            best[message.chunk] = max(best.get(message.chunk, 0.0), message.seconds)
    whole = sum(message.seconds for message in heard)
    return (
        sum(computed.values()) - len(computed),
        len(heard) - len(best),
        whole - sum(best.values()),
        whole,
    )


def _lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
