"""State that decoders keep between packets, recorded so that a run of packets can begin anywhere.

Parameter sets, sequence headers, quantisation tables and palettes may be sent once, or replaced in the middle of a
stream, and stay in force until they are replaced again. A bare decoder that starts later never sees them.
`DecoderState` follows a stream from its first packet; `entry` returns what a decoder that starts at a packet lacks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol

from media.jpeg_tables import JpegTables
from media.parameter_sets import NalHeaders
from media.sequence_headers import ObuHeaders, StartCodeHeaders

Side = tuple[tuple[str, bytes], ...]

CARRIED = ("new_extradata", "param_change", "palette")
"""Side data that change how packets are decoded from there on, by PyAV's names."""


@dataclass(frozen=True)
class Entry:
    """A packet as a decoder that starts with it must be given it."""

    data: bytes
    side: Side


class Headers(Protocol):
    """The headers of one codec that stay in force after the packet that carries them."""

    def extradata(self, data: bytes) -> None:
        """Follow headers that come beside the packets. They need no replay: a decoder gets them as they are."""

    def see(self, data: bytes) -> None:
        """Follow the headers inside a packet."""

    def opened(self, data: bytes) -> bytes:
        """Return `data` with the headers put in front that a decoder which starts here lacks."""


class DecoderState:
    """Follows one stream. Call `entry` where a run may start, and `see` for each packet, both in decode order."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._headers = headers_of(codec)
        self._side: dict[str, bytes] = {}
        if self._headers is not None and extradata:
            self._headers.extradata(extradata)

    def see(self, data: bytes, side: Side) -> None:
        """Take over what a packet changes. `side` holds its side data of the kinds in `CARRIED`."""
        for kind, value in side:
            self._side[kind] = value
            if kind == "new_extradata" and self._headers is not None:
                self._headers.extradata(value)
        if self._headers is not None and data:
            self._headers.see(data)

    def entry(self, data: bytes, side: Side) -> Entry:
        """Return the packet (`data`, `side`) as the first of a run. Call it before the packet itself is seen."""
        own = dict(side)
        missed = tuple((kind, value) for kind, value in self._side.items() if kind not in own)
        headers = self._headers
        if headers is None or not data:
            return Entry(data, side + missed)
        if "new_extradata" in own:  # a decoder takes it over before it reads the packet
            headers = copy.deepcopy(headers)
            headers.extradata(own["new_extradata"])
        return Entry(headers.opened(data), side + missed)


def headers_of(codec: str) -> Headers | None:
    """Return a follower of the headers of `codec` (FFmpeg's name); None where packets carry none."""
    if codec in ("h264", "hevc"):
        return NalHeaders(codec == "hevc")
    if codec in ("mpeg1video", "mpeg2video"):
        sequence = frozenset((0xB3,))
        return StartCodeHeaders(sequence, frozenset((0xB8, 0x00)), sequence, matrices=True)
    if codec == "mpeg4":
        volumes = frozenset(range(0x20, 0x30))
        begins = frozenset((0xB0, 0xB2, 0xB5, *range(0x20))) | volumes
        return StartCodeHeaders(begins, frozenset((0xB3, 0xB6)), volumes, remembers=True)
    if codec in ("av1", "libdav1d"):
        return ObuHeaders()
    if codec == "mjpeg":
        return JpegTables()
    return None
