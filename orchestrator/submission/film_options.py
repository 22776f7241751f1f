"""Options that are for films alone: refused where there is none, noted where there are images beside."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from contract.errors import UsageError
from contract.job import Item, Kind, Spec
from contract.masks import shown
from contract.time_filters import asked, options_of
from orchestrator.mask_names import mask_name


def check_film_options(spec: Spec, kinds: Collection[Kind]) -> list[str]:
    """Raise UsageError for filters over time, or bounds of a piece, where all sources that can be read are images.

    So it does as `check_masks`. Return a note for filters where some are images.
    """
    check_masks(spec)
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


def check_masks(spec: Spec) -> None:
    """Raise UsageError for a mask film of nothing, before any source is read."""
    if spec.masks and not shown(spec):
        raise UsageError(
            "--masks shows what --deflicker, --dirt, --scratches, --stabilise or --steady changes, and none is asked for; add one, or "
            "leave --masks out."
        )


def mask_names(spec: Spec, items: Sequence[Item]) -> list[str]:
    """Return the names of the mask films of `items`; raise UsageError where one is that of another file of the job."""
    if not spec.masks:
        return []
    taken = {item.result: f"the result of {item.name}" for item in items}
    names = []
    for item in items:
        if item.kind == "video":
            name = mask_name(item.result)
            if name in taken:
                raise UsageError(
                    f"the mask film of {item.name} and {taken[name]} would both be called {name}; rename {item.name}, or restore it by itself."
                )
            taken[name] = f"the mask film of {item.name}"
            names.append(name)
    return names
