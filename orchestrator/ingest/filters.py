"""Filters of a film that depend on its fields: whether it is deinterlaced, and which filters over time it cannot have."""

from __future__ import annotations

from contract.errors import BadInput
from contract.job import Spec
from media.codecs import PROGRESSIVE


def deinterlaces(spec: Spec) -> bool:
    """Return whether interlaced films are deinterlaced."""
    return (spec.model != "identity" and spec.deinterlace == "auto") or spec.deinterlace == "bwdif"


def refuse_filters(spec: Spec, field_order: int, what: str) -> None:
    """Raise BadInput for a filter over time that a film with this FFmpeg field order cannot have."""
    if spec.stabilise and field_order > PROGRESSIVE and not deinterlaces(spec):
        raise BadInput(
            f"--stabilise would mix the fields of {what}, which is interlaced; add --deinterlace bwdif, or leave it out."
        )
