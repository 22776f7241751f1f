"""The provenance record inside a result: source bytes, model, and the statement that detail was generated."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.metadata import version
from typing import Literal

import msgspec
from msgspec import Struct

from contract.job import Item, Job, JobId, Natural, Sha256, Spec
from contract.piece import Piece

TRAINED = "training run "
"""Beginning of the origin of weights that Respool trained."""
CLASSICAL = ("identity", "lanczos")
"""Generators that resample and invent nothing."""


class Ingredient(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Weights that took part: role, name, SHA-256 of their bytes and licence (SPDX).

    `origin` leads to the training run and its record; it is empty, and left out, for weights that were not trained by Respool.
    """

    role: str
    name: str
    sha256: Sha256
    licence: str
    origin: str = ""


class Making(Struct, frozen=True, forbid_unknown_fields=True):
    """Provenance of one result, as far as it is known when its file is written; embedded in the file.

    `content` is the SHA-256 of the encoded picture without metadata (see `media.images.encoded_payload`); empty for films, whose
    hash is in the job's records. `device`, `precision` and `backend` are the workers'; where several differ, all are named.
    """

    software: str
    job: JobId
    item: Natural
    source: str
    source_sha256: Sha256
    model: str
    scale: float | None
    faces: str
    ingredients: tuple[Ingredient, ...]
    created: str
    device: str = ""
    precision: str = ""
    backend: str = ""
    content: str = ""
    piece: Piece | None = None
    """The part of the source that was restored; left out of the text for all of it, which older versions read."""
    version: Literal[1] = 1

    @property
    def generated(self) -> bool:
        """True when a network generated detail."""
        return self.model not in CLASSICAL or bool(self.faces)

    @property
    def statement(self) -> str:
        """The sentence for readers that every result carries."""
        name = self.model + (f" at {self.scale:g}x" if self.scale else "")
        piece = f" A piece of the source: {self.piece.words}." if self.piece else ""
        if self.generated:
            faces = f", faces with {self.faces}" if self.faces else ""
            said = f"Enhanced with {name}{faces} by {self.software}: generated detail, not evidence of what was there."
        elif self.model == "identity":
            said = f"Passed through {self.software} unchanged."
        else:
            said = f"Resampled with {name} by {self.software}: no detail was generated."
        return said + piece


@cache
def software() -> str:
    """Return the program's name and version."""
    return f"Respool {version('respool')}"


def ingredients(spec: Spec) -> tuple[Ingredient, ...]:
    """List the weights of a spec for a provenance record."""
    return tuple(
        Ingredient(w.role, w.name, w.sha256, w.licence, w.origin if w.origin.startswith(TRAINED) else "")
        for w in spec.weights
    )


def making(job: Job, item: Item, device: str = "", precision: str = "", backend: str = "") -> Making:
    """Build the provenance record of a result of `item`."""
    spec = job.spec
    return Making(
        software=software(),
        job=job.id,
        item=item.n,
        source=item.name,
        source_sha256=item.sha256,
        model=spec.model,
        scale=spec.scale,
        faces=spec.faces.model if spec.faces else "",
        ingredients=ingredients(spec),
        created=job.created,
        device=device,
        precision=precision,
        backend=backend,
    )


RECORD = "RESPOOL"
"""The tag of a film that holds `text`, where its container takes tags of any name."""
MP4_RECORD = "synopsis"
"""The same in mp4 and mov: a name of our own would move every tag of the file to a place that few players read."""
_SENTENCE = ("comment", "description")


def film_tags(made: Making, container: str, taken: Collection[str]) -> dict[str, str]:
    """Return provenance tags for a film in FFmpeg's format `container`; the source's own tags `taken` are not replaced.

    The statement goes into the first of comment and description that is free. A transport stream holds no tags.
    """
    if container == "mpegts":
        return {}
    used = {name.lower() for name in taken}
    tags = {name: made.statement for name in _SENTENCE if name not in used}
    record = MP4_RECORD if container in ("mp4", "mov") else RECORD
    return dict(list(tags.items())[:1]) | ({record: text(made)} if record.lower() not in used else {})


def facts(made: Making) -> dict[str, object]:
    """Return the fields of `made` as JSON has them; the piece, which older results do not name, only where there is one."""
    found: dict[str, object] = msgspec.to_builtins(made)
    if made.piece is None:
        del found["piece"]
    return found


def text(made: Making) -> str:
    """Return `made` as canonical JSON."""
    return msgspec.json.encode(facts(made), order="deterministic").decode()


def read(record: str | bytes) -> Making | None:
    """Return the Making that `text` wrote; None for anything else, such as another program's tag of the same name."""
    try:
        return msgspec.json.decode(record, type=Making)
    except msgspec.DecodeError:
        return None
