"""Sources that look damaged but are not: encrypted ones, sectors of discs, streams that begin late."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from contract.errors import Unsupported
from contract.severity import Loss
from media.demuxing import header_dump
from media.disc_sectors import first_sector
from media.scrambling import scrambled

if TYPE_CHECKING:
    from av.container import InputContainer


def refuse_encrypted(source: BinaryIO, form: str, packets: int, others: list[int], what: str) -> None:
    """Raise Unsupported when the film (`packets` of it) or the streams `others` are encrypted."""
    if packets:
        which = "its picture"
    elif others:
        which = "its stream " + ", ".join(map(str, others))
    elif scrambled(source, form):
        which = "its picture (scrambled for conditional access or by a disc)"
    else:
        return
    raise Unsupported(f"{what} is encrypted: {which} cannot be decoded without its key; decrypt it first.")


def disc_notes(source: BinaryIO, what: str) -> list[str]:
    """Tell that `source` holds the sectors of a disc."""
    if first_sector(source) < 0:
        return []
    return [f"{what} holds raw sectors of a Video CD; the program stream in them is restored"]


def appeared_late(container: InputContainer, what: str) -> list[str]:
    """Name streams that the demuxer met only while reading. Raises Unsupported for video among them."""
    dump = header_dump(container)
    found = {int(n): kind for n, kind in re.findall(r"Stream #0:(\d+)\b[^\n]*?: (Video|Audio|Subtitle|Data): ", dump)}
    late = {n: kind for n, kind in found.items() if n >= len(container.streams)}
    if "Video" in late.values():
        raise Unsupported(
            f"{what} goes on in another video stream after its start; cut it there and submit the parts by themselves."
        )
    return [
        Loss(
            f"stream {n} of {what} ({kind.lower()}) begins after the part that is searched for streams, and is left behind"
        )
        for n, kind in late.items()
    ]
