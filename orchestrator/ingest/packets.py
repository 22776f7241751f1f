"""One pass over a source's packets: what the film's stream holds, without decoding any of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from av.stream import Discard

from contract.errors import BadInput
from contract.film import MAX_FRAMES
from contract.packets import CORRUPT, DISCARD, KEY

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

NONE = -(1 << 63)
"""A timestamp that the container does not give (FFmpeg's AV_NOPTS_VALUE)."""
EMPTY = 8
"""A packet without data: a held frame in AVI. It must never reach a decoder, which would take it for the end."""
HIDDEN = 16
"""A packet whose picture is only a reference (VP8 and VP9 alternate references outside of a superframe)."""


@dataclass
class PacketTable:
    """The packets of one stream in decode order; columns of equal length."""

    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int64]
    new_headers: list[int] = field(default_factory=list)
    """Ids of packets that bring new codec parameters."""
    broken_off: str = ""
    """Why the demuxer stopped before the end, if it did."""

    def __len__(self) -> int:
        return len(self.pts)


def packet_flags(packet: Packet[VideoStream], codec: str) -> int:
    flags = (
        (KEY if packet.is_keyframe else 0)
        | (DISCARD if packet.is_discard else 0)
        | (CORRUPT if packet.is_corrupt else 0)
        | (EMPTY if packet.size == 0 else 0)
    )
    if codec in ("vp8", "vp9") and packet.size and not shown(codec, packet):
        flags |= HIDDEN
    return flags


def shown(codec: str, packet: Packet[VideoStream]) -> bool:
    """Whether a VP8 or VP9 packet shows a picture (RFC 6386 9.1; VP9 bitstream specification 6.2 and annex B)."""
    head = memoryview(packet)
    first = head[0]
    if codec == "vp8":
        return bool(first >> 4 & 1)
    last = head[len(head) - 1]
    if last & 0xE0 == 0xC0:  # a superframe holds exactly one shown frame
        return True
    bit = 4  # after the frame marker and the two profile bits; profile 3 has a reserved bit more
    if first >> 4 & 3 == 3:
        bit += 1
    if first >> 7 - bit & 1:  # show_existing_frame
        return True
    return bool(first >> 7 - (bit + 2) & 1)


def read_packets(container: InputContainer, stream: VideoStream, what: str) -> PacketTable:
    """Demux `stream` to its end. Raises BadInput when there is nothing in it."""
    pts, dts, duration, size, flags = (array("q") for _ in range(5))
    new_headers: list[int] = []
    codec = stream.codec_context.name
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    broken_off = ""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except Exception as error:
            broken_off = str(error)
            break
        if packet is None or (packet.size == 0 and packet.pts is None and packet.dts is None):
            break
        if packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change"):
            new_headers.append(len(pts))
        pts.append(NONE if packet.pts is None else packet.pts)
        dts.append(NONE if packet.dts is None else packet.dts)
        duration.append(packet.duration or 0)
        size.append(packet.size)
        flags.append(packet_flags(packet, codec))
        if len(pts) > MAX_FRAMES:
            raise BadInput(f"{what} has more than {MAX_FRAMES} packets of video; cut it into parts.")
    if not pts:
        raise BadInput(f"{what} holds no picture that can be read; check the file.")
    columns = [np.frombuffer(c, dtype=np.int64) for c in (pts, dts, duration, size, flags)]
    return PacketTable(*columns, new_headers=new_headers, broken_off=broken_off)
