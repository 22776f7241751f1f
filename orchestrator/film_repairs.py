"""Repairs of a film over time, summed up from the records of its chunks: totals, the largest ones, and their course. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from contract.job import Done, Natural
from contract.time_filters import DEFLICKER, DIRT, GRAIN, SCRATCHES, STABILISE, STEADY, TIME_FILTERS

logger = logging.getLogger(__name__)

LARGEST = 3
"""Repairs of a filter that are named."""
APART = 24
"""Frames between two of them, a second of film: neighbours show the same."""
POINTS = 200
"""Points of a course; each is the largest amount of its frames."""


class Large(Struct, frozen=True):
    """One of the largest repairs: the frame's position, its amount, and its columns where it has a place."""

    frame: Natural
    amount: float
    columns: tuple[Natural, Natural] | None = None
    """The first column of the strongest line or the largest blotch, and their number."""


class Repairs(Struct, frozen=True):
    """The work of one filter on a film of `frames` frames, of which it changed `changed`."""

    filter: str
    frames: Natural
    changed: Natural
    largest: tuple[Large, ...]
    course: tuple[float, ...]


def _level(record: Any) -> float:
    """Return by how many code values mid grey is moved, where it is moved furthest."""
    gain, offset, *local = record  # workers before 2026-11-29 levelled whole pictures alone
    everywhere = (gain - 1) * 128 + offset
    return float(max(abs(everywhere), *(abs(everywhere + 128 * share) for share in local), 0.0))


def _shift(record: Any) -> float:
    right, down = record
    return float((right**2 + down**2) ** 0.5)


def _contrast(record: Any) -> float:
    return float(max((abs(line[2]) for line in record), default=0.0))


def _covered(record: Any) -> float:
    return float(record[1])


UNITS: Mapping[str, str] = {
    DEFLICKER.name: "code values at mid grey",
    DIRT.name: "pixels of dirt",
    SCRATCHES.name: "code values of the strongest line",
    STABILISE.name: "pixels",
    GRAIN.name: "code values of grain, kept",
    STEADY.name: "neighbours that counted, of 4",
}
"""Units of the amounts."""
_AMOUNTS: Mapping[str, Callable[[Any], float]] = {
    DEFLICKER.name: _level,
    DIRT.name: _covered,
    SCRATCHES.name: _contrast,
    STABILISE.name: _shift,
    GRAIN.name: float,
    STEADY.name: float,
}


def repairs_of(commits: Iterable[Done]) -> list[Repairs]:
    """Sum up the records of a film's chunks, which are in order; filters without a record are left out.

    So is a filter of which a worker has written a record of another form: it decides nothing, and the film is delivered all the same.
    """
    films: list[tuple[int, Any]] = []
    for done in commits:
        try:
            films.append((done.first, msgspec.json.decode(done.record.get("film", b"{}"), type=dict[str, Any])))
        except msgspec.DecodeError as error:
            logger.warning("the repairs of chunk %s are not counted: %s", done.chunk, error)
    found = []
    for one in TIME_FILTERS:
        try:
            own = [(first + n, record) for first, film in films for n, record in enumerate(film.get(one.name, ()))]
            if own:
                found.append(_summed(one.name, own))
        except (TypeError, ValueError, LookupError) as error:
            logger.warning("the repairs of --%s are not counted: %s", one.name, error)
    return found


def _summed(name: str, own: list[tuple[int, Any]]) -> Repairs:
    amounts = [round(_AMOUNTS[name](record), 3) for _, record in own]
    largest: list[Large] = []
    for n in sorted(range(len(own)), key=lambda n: (-amounts[n], n)):
        if not amounts[n] or len(largest) == LARGEST:
            break
        at, record = own[n]
        if all(abs(at - other.frame) >= APART for other in largest):
            largest.append(Large(at, amounts[n], _columns(name, record)))
    step = -(-len(amounts) // POINTS)
    course = tuple(max(amounts[n : n + step]) for n in range(0, len(amounts), step))
    return Repairs(name, len(own), sum(map(bool, amounts)), tuple(largest), course)


def _columns(name: str, record: Any) -> tuple[int, int] | None:
    if name == SCRATCHES.name:
        first, count, _ = max(record, key=lambda line: abs(line[2]))
        return first, count
    if name == DIRT.name:
        left, _, width, _ = record[2][0]
        return left, width
    return None


def words(one: Repairs, large: Large) -> str:
    """Describe one of a filter's largest repairs."""
    place = "" if large.columns is None else f", at column {large.columns[0]} of the source"
    return f"--{one.filter}, frame {large.frame}: {large.amount:g} {UNITS.get(one.filter, '')}{place}"
