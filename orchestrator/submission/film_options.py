"""Options that are for films alone: refused where there is none, noted where there are images beside."""

from __future__ import annotations

from collections.abc import Collection

from contract.errors import UsageError
from contract.job import Kind, Spec
from contract.time_filters import asked, options_of


def check_film_options(spec: Spec, kinds: Collection[Kind]) -> list[str]:
    """Raise UsageError for filters over time, or bounds of a piece, where all sources that can be read are images.

    Return a note for filters where some are.
    """
    filters = asked(spec)
    names, needs, it = options_of(filters)
    if "image" not in kinds:
        return []
    if set(kinds) != {"image"}:
        return [f"{names} {needs} a film: the images are restored without {it}"] if filters else []
    if filters:
        raise UsageError(f"{names} {needs} a film, and all sources are images; leave {it} out.")
    if spec.piece is not None:
        raise UsageError(
            f"{spec.piece.words} asks for a piece of a film, and all sources are images; leave it out, or name a --sequence."
        )
    return []
