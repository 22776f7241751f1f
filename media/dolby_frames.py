"""Frames of AC-3 and E-AC-3, told apart by their own headers: some containers (NUT) have one name for both.

Syntax: ATSC A/52 5.3 and E.1.2.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from contract.errors import VerifyError
from media.demuxing import demux
from media.opening import open_media

if TYPE_CHECKING:
    from typing import BinaryIO

    from av.container import OutputContainer
    from av.stream import Stream

DOLBY = frozenset(("ac3", "eac3"))
SYNC = b"\x0b\x77"
NEWEST = 16
"""Largest bitstream id of E-AC-3; those of AC-3 end at 10."""
SIZES = 38
"""Frame sizes that AC-3 numbers."""


@dataclass
class DolbyFrames:
    """Count of the packets of one stream called AC-3 or E-AC-3. Call `see` for each packet in order."""

    plain: int = 0
    enhanced: int = 0
    broken: int = 0
    """Packets that begin with no valid header of a frame."""

    def see(self, head: bytes) -> None:
        """Count a packet by its first bytes."""
        kind = kind_of(head)
        self.plain += kind == "ac3"
        self.enhanced += kind == "eac3"
        self.broken += not kind

    @property
    def codec(self) -> str:
        """Return FFmpeg's name for what most frames are, "" where none is either."""
        if not self.plain and not self.enhanced:
            return ""
        return "eac3" if self.enhanced > self.plain else "ac3"


def kind_of(head: bytes) -> str:
    """Return "ac3" or "eac3" for the first bytes of a frame, "" where they are no valid header."""
    if len(head) < 7 or head[:2] != SYNC or head[5] >> 3 > NEWEST:
        return ""
    rate = head[4] >> 6
    if head[5] >> 3 <= 10:
        return "ac3" if rate < 3 and head[4] & 0x3F < SIZES else ""
    reserved = head[2] >> 6 == 3 or (rate == 3 and head[4] >> 4 & 3 == 3)
    return "" if reserved else "eac3"


def first_frame(source: BinaryIO, number: int) -> bytes:
    """Return the first packet of stream `number` that is a frame of E-AC-3; raises VerifyError where there is none."""
    with open_media(source, "the source") as container:
        for packet in demux(container, {number}, []):
            if kind_of(bytes(memoryview(packet)[:7])) == "eac3":
                return bytes(packet)
    raise VerifyError(
        f"stream {number} of the source holds no frame of E-AC-3; it has changed since it was planned, submit it again."
    )


def add_enhanced(container: OutputContainer, original: Stream, frame: bytes) -> Stream:
    """Add a stream of E-AC-3 for one that its container calls AC-3; `frame` is its first, whose header describes it.

    A result that called it AC-3, too, could not be played by devices that believe it, and mp4's muxer refuses it.
    """
    with av.open(io.BytesIO(frame), "r", format="eac3") as described:
        stream = container.add_stream_from_template(described.streams.audio[0], opaque=True)
    stream.time_base = original.time_base
    return stream
