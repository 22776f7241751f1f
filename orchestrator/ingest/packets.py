"""One pass over a source's packets: what the film's stream holds, without decoding any of it."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av.error
import numpy as np
import numpy.typing as npt
from av.stream import Discard

from contract.bitstream import HEAD, PacketFacts, reader_for
from contract.errors import BadInput
from contract.film import MAX_FRAMES
from contract.media import reason
from contract.packets import CORRUPT, DISCARD, KEY

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

NONE = -(1 << 63)
"""A timestamp that the container does not give (FFmpeg's AV_NOPTS_VALUE)."""
EMPTY = 8
"""A packet without data: a held frame in AVI. It must never reach a decoder, which would take it for the end."""
HIDDEN = 16
"""A packet whose picture is not shown: VP8 and VP9 alternate references outside of a superframe, HEVC pictures that lead
a random access point at which decoding starts."""
SECOND_FIELD = 32
"""A packet that completes the frame which the packet before it began (H.264 field pictures)."""


@dataclass
class PacketTable:
    """The packets of one stream in decode order; columns of equal length."""

    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int64]
    broken_off: str
    """Why the demuxer stopped before the end, if it did."""

    def __len__(self) -> int:
        return len(self.pts)


class Inspector:
    """Turns packets into flags, following the stream from its start."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._reader = reader_for(codec, extradata)
        self._open_field: tuple[int, int] | None = None
        self._skipping = True

    def flags(self, packet: Packet[VideoStream]) -> int:
        flags = (
            (KEY if packet.is_keyframe else 0)
            | (DISCARD if packet.is_discard else 0)
            | (CORRUPT if packet.is_corrupt else 0)
        )
        if packet.size == 0:
            return flags | EMPTY
        if self._codec in ("vp8", "vp9"):
            return flags if shown(self._codec, packet) else flags | HIDDEN
        if self._reader is None:
            return flags
        facts = self._reader.look(bytes(memoryview(packet)[:HEAD]), packet.is_keyframe)
        if flags & KEY:
            self._skipping = self._skipping or facts.fresh
            if not facts.start:
                flags &= ~KEY
        elif facts.leading and self._skipping:
            flags |= HIDDEN
        else:
            self._skipping = False
        return flags | self._field(facts)

    def _field(self, facts: PacketFacts) -> int:
        if not facts.field:
            self._open_field = None
            return 0
        if self._open_field == (facts.frame_num, 3 - facts.field):
            self._open_field = None
            return SECOND_FIELD
        self._open_field = (facts.frame_num, facts.field)
        return 0


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


def only(container: InputContainer, wanted: set[int]) -> None:
    """Let the demuxer skip all streams but `wanted`."""
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all


def demux(container: InputContainer, streams: set[int], broken: list[str]) -> Iterator[Packet[Stream]]:
    """Packets of `streams` to the end; where the file breaks off, the reason is appended to `broken`."""
    only(container, streams)
    if not streams:
        return  # PyAV would take no streams for all streams
    packets = container.demux([container.streams[i] for i in sorted(streams)])
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            broken.append(reason(error))
            return
        if packet is None:
            return
        if packet.size or packet.pts is not None or packet.dts is not None:  # not PyAV's marks of the end
            yield packet


@dataclass
class Tally:
    """What another stream holds: packets, their bytes, and the CRC-32 of all payloads in order."""

    packets: int = 0
    size: int = 0
    crc: int = 0
    start: float = 0.0

    def add(self, packet: Packet[Stream]) -> None:
        stamp = packet.dts if packet.dts is not None else packet.pts
        if not self.packets and stamp is not None:
            self.start = float(stamp * packet.time_base)
        self.packets += 1
        self.size += packet.size
        self.crc = zlib.crc32(packet, self.crc)


def read_packets(container: InputContainer, stream: VideoStream, tallies: dict[int, Tally], what: str) -> PacketTable:
    """Demux the film's `stream` to its end, and the streams in `tallies` with it. Raises BadInput when there is no film
    in it."""
    pts, dts, duration, size, flags = (array("q") for _ in range(5))
    inspector = Inspector(stream.codec_context.name, stream.codec_context.extradata or b"")
    broken: list[str] = []
    film = stream.index
    for packet in demux(container, {film, *tallies}, broken):
        if packet.stream_index != film:
            tallies[packet.stream_index].add(packet)
            continue
        pts.append(NONE if packet.pts is None else packet.pts)
        dts.append(NONE if packet.dts is None else packet.dts)
        duration.append(packet.duration or 0)
        size.append(packet.size)
        flags.append(inspector.flags(packet))  # type: ignore[arg-type]
        if len(pts) > MAX_FRAMES:
            raise BadInput(f"{what} has more than {MAX_FRAMES} packets of video; cut it into parts.")
    if not pts:
        raise BadInput(
            f"{what} holds no picture that can be read{': ' * bool(broken)}{''.join(broken)}; check the file."
        )
    columns = [np.array(c, dtype=np.int64) for c in (pts, dts, duration, size, flags)]
    return PacketTable(columns[0], columns[1], columns[2], columns[3], columns[4], "".join(broken))
