"""Evidence that a film is high dynamic range: its transfer function, Dolby Vision, and metadata that only HDR has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contract.errors import Unsupported

if TYPE_CHECKING:
    from contract.job import Spec
    from media.picture_messages import PictureMessages
    from orchestrator.ingest.probe import Picture

TRANSFERS = {16: "PQ", 18: "HLG"}
UNTAGGED = (0, 2, 3)
"""Transfer functions (FFmpeg's AVCOL_TRC_*) that say nothing."""
SDR_BASE = 2
"""Dolby Vision's compatibility id of a base layer that is SDR (BT.709)."""
METADATA = ("mastering display metadata", "content light level metadata", "ambient viewing environment")
"""Side data of a stream that describe a display for HDR, in FFmpeg's words."""


def hdr_evidence(picture: Picture, inside: int, described: str, messages: PictureMessages) -> str:
    """Return the evidence that the film is HDR in words; "" when it is not.

    `inside` is the transfer function that the first frame names, `described` is FFmpeg's description of the stream. A transfer function that is tagged as SDR outweighs metadata about a display, but neither Dolby Vision nor a message
    that asks for another transfer function.
    """
    transfer = picture.colour.transfer
    if transfer in TRANSFERS:
        return TRANSFERS[transfer]
    if inside in TRANSFERS:
        return f"{TRANSFERS[inside]}, by the pictures' own tag"
    if messages.transfer in TRANSFERS:
        return f"{TRANSFERS[messages.transfer]}, which a message in its pictures asks for"
    record = re.search(r"DOVI configuration record:.*?profile: (\d+).*?compatibility id: (\d+)", described)
    if record and int(record.group(2)) != SDR_BASE:
        return f"Dolby Vision, profile {record.group(1)}"
    if transfer in UNTAGGED:
        if messages.dolby_vision and not record:
            return "Dolby Vision, by the metadata in its pictures"
        found = [name for name in METADATA if name in described.lower()]
        found += [name for name in messages.found if name.startswith("HDR metadata")]
        if found:
            return f"without a transfer function, but with {found[0]}"
    return ""


def refuse_hdr(evidence: str, spec: Spec, what: str) -> list[str]:
    """Raise Unsupported for HDR that was not asked for; return notes for HDR that was."""
    if not evidence:
        return []
    if not spec.hdr:
        raise Unsupported(
            f"{what} is high dynamic range ({evidence}), which the networks were not trained on; "
            "pass --hdr to process its code values as they are, or make an SDR version first."
        )
    if evidence.startswith("Dolby Vision, profile 5"):
        return [f"{what} is {evidence}: its colours are coded as IPT, which no result here can say"]
    return []
