"""The record of a result: from which bytes, by which model, on which workers, with which damage. The schema alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from contract.job import Damage, Kind, Natural, Sha256
from contract.piece import Piece
from contract.provenance import Ingredient
from orchestrator.film_repairs import Repairs


class FileFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """A file by name, hash and size."""

    name: str
    sha256: Sha256
    size: Natural


class ChunkFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """The committed attempt of a chunk: worker, device and times.

    `failed_before` holds the reasons of failed attempts, `handed_back` those of attempts that ended without a fault, by a pause or a shutdown.
    """

    chunk: Natural
    attempt: str
    worker: str
    device: str = ""
    precision: str = ""
    backend: str = ""
    reason: str = ""
    started: str = ""
    finished: str = ""
    seconds: dict[str, float] = {}
    failed_before: tuple[str, ...] = ()
    handed_back: tuple[str, ...] = ()
    versions: dict[str, str] = {}


class FilmWanted(Struct, frozen=True):
    """The video stream, or the program, that a job was told to restore; neither, for the largest picture."""

    video_stream: int | None = None
    program: int | None = None


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """The making of one result. `parameters` is the job's spec without its weights, which are `ingredients`.

    `severity` is the worst of note, loss and damage, empty where nothing was said; `losses` are those of the notes.
    """

    job: str
    item: Natural
    kind: Kind
    source: FileFacts
    result: FileFacts
    statement: str
    generated: bool
    software: str
    parameters: dict[str, Any]
    ingredients: tuple[Ingredient, ...]
    chunks: tuple[ChunkFacts, ...]
    damage: tuple[Damage, ...]
    notes: tuple[str, ...]
    submitted: str
    finished: str
    details: dict[str, Any] = {}
    severity: str = ""
    losses: tuple[str, ...] = ()
    version: int = 1

    @property
    def repairs(self) -> list[Repairs]:
        """The work of filters over time on a film, in their order."""
        return msgspec.convert(self.details.get("repairs", []), list[Repairs])

    @property
    def wanted(self) -> FilmWanted:
        """The stream or program of a film that the job named."""
        return FilmWanted(self.parameters.get("video_stream"), self.parameters.get("program"))

    @property
    def masks(self) -> FileFacts | None:
        """The mask film beside a film's result; None where none was asked for."""
        found = self.details.get("masks")
        return None if found is None else msgspec.convert(found, FileFacts)

    @property
    def piece(self) -> Piece | None:
        """The part of a film that was restored; None for all of it."""
        found = self.details.get("piece")
        return None if found is None else msgspec.convert(found, Piece)


def to_lines(found: Iterator[Record]) -> Iterator[bytes]:
    """Yield records as JSON, one a line, as a job keeps them in the store."""
    for record in found:
        yield msgspec.json.encode(record, order="deterministic") + b"\n"


def from_lines(data: bytes) -> list[Record]:
    """Return the records that `to_lines` wrote; raise msgspec.DecodeError for anything else."""
    return [msgspec.json.decode(line, type=Record) for line in data.splitlines() if line]
