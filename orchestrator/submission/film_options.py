"""Options that are for films alone, refused where there is none."""

from __future__ import annotations

from collections.abc import Collection

from contract.errors import UsageError
from contract.job import Kind, Spec
from contract.time_filters import asked, options_of


def refuse_without_film(spec: Spec, kinds: Collection[Kind]) -> None:
    """Raise UsageError for filters over time, or bounds of a piece, where all sources that can be read are images."""
    if set(kinds) != {"image"}:
        return
    if filters := asked(spec):
        names, needs, it = options_of(filters)
        raise UsageError(f"{names} {needs} a film, and all sources are images; leave {it} out.")
    if spec.piece is not None:
        raise UsageError(
            f"{spec.piece.words} asks for a piece of a film, and all sources are images; leave it out, or name a --sequence."
        )
