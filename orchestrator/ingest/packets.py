"""One pass over a source's packets: the table of the film's stream, without decoding."""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av.logging
import numpy as np
import numpy.typing as npt

from contract.errors import BadInput
from contract.film import MAX_FRAMES
from contract.packets import CORRUPT, DISCARD, KEY
from media.bitstream import HEAD, PacketFacts, reader_for
from media.demuxing import demux, hidden_sound
from media.dolby_frames import DolbyFrames
from media.sound_configuration import SoundConfigurations
from orchestrator.ingest.contents import FilmContents

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

    from media.opening import DecoderLog
    from media.piece import Window

NOTABLE = ("Found duplicated MOOV", "File extends beyond end of segment", "DRM protected stream", "multiple fourcc")
"""Warnings which mean that a file holds more than the demuxer reads."""
HEADS, HEADS_BYTES = 4, 1 << 18
"""Packets of a stream of sound that are kept to be written on trial, and most bytes of them."""
NONE = -(1 << 63)
"""A timestamp that the container does not give (FFmpeg's AV_NOPTS_VALUE)."""
EMPTY = 8
"""A packet without data: a held frame in AVI. It must never reach a decoder, to which it means the end."""
HIDDEN = 16
"""A packet whose picture is not shown.

VP8 and VP9 alternate references outside of a superframe, HEVC pictures that lead a random access point at which decoding
starts."""
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
    """Reason why the demuxer stopped before the end, if it did."""
    said: tuple[tuple[int, str], ...] = ()
    """Complaints of the demuxer: the id of the nearest packet, and the demuxer's words."""
    notable: tuple[str, ...] = ()
    """Other messages of the demuxer about the file as a whole."""

    def __len__(self) -> int:
        return len(self.pts)


class Inspector:
    """Classifier of packets that follows the stream from its start."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._reader = reader_for(codec, extradata)
        self._open_field: tuple[int, int] | None = None
        self._skipping = True

    def flags(self, packet: Packet[VideoStream]) -> int:
        """Return the flags of the next packet in decode order."""
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
        if packet.has_sidedata("new_extradata"):
            self._reader.add_extradata(bytes(packet.get_sidedata("new_extradata")))
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
    """Return True if a VP8 or VP9 packet shows a picture (RFC 6386 9.1; VP9 bitstream specification 6.2 and annex B)."""
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


@dataclass
class Tally:
    """Summary of another stream: packets, their bytes, and the CRC-32 of all payloads in order."""

    packets: int = 0
    size: int = 0
    crc: int = 0
    start: float = 0.0
    encrypted: bool = False
    sound: SoundConfigurations | None = None
    dolby: DolbyFrames | None = None
    heads: list[bytes] = field(default_factory=list)
    """The first packets of sound."""
    time_code: list[tuple[float, int]] | None = None
    """(seconds, frame number) of each sample of a time code track."""
    incomplete: set[int] = field(default_factory=set)
    """Decode times (in ticks of the stream) of packets that the container marks as incomplete."""

    hidden: int = 0
    """Packets of sound from before the start of an edit list, which are left out."""
    hidden_s: float = 0.0
    window: Window | None = None
    """The piece that is restored; packets outside of it are read, and not counted."""
    cut: bool = False
    """True where a packet begins before the piece and is left out."""
    unclear: bool = False
    """True where a subtitle before the piece does not say how long it is shown."""

    def add(self, packet: Packet[Stream]) -> None:
        """Add a packet, or count it as hidden by an edit list."""
        if hidden_sound(packet):
            self.hidden += 1
            self.hidden_s = max(self.hidden_s, -float((packet.pts or 0) * packet.time_base))
            return
        stamp = packet.dts if packet.dts is not None else packet.pts
        self.encrypted = self.encrypted or packet.has_sidedata("encryption_info")
        if self.sound is not None and packet.size:
            self.sound.see(packet)
            described = not packet.has_sidedata("new_extradata")
            if described and len(self.heads) < HEADS and sum(map(len, self.heads)) + packet.size <= HEADS_BYTES:
                self.heads.append(bytes(packet))
        if self.dolby is not None and packet.size:
            self.dolby.see(bytes(memoryview(packet)[:7]))
        if self.time_code is not None and packet.size == 4 and stamp is not None:
            self.time_code.append((float(stamp * packet.time_base), int.from_bytes(packet, "big")))
        if self.window is not None and not self.window.holds(packet):
            before = (
                stamp is not None and self.window.start is not None and stamp * packet.time_base < self.window.start
            )
            self.cut |= before
            self.unclear |= before and packet.stream.type == "subtitle" and not packet.duration and not self.packets
            return
        if self.window is not None:
            self.window.clip(packet)
            stamp = packet.dts if packet.dts is not None else packet.pts
        if not self.packets and stamp is not None:
            self.start = float(stamp * packet.time_base)
        if packet.is_corrupt and stamp is not None:
            self.incomplete.add(stamp)
        self.packets += 1
        self.size += packet.size
        self.crc = zlib.crc32(packet, self.crc)


def read_packets(
    container: InputContainer,
    stream: VideoStream,
    tallies: dict[int, Tally],
    contents: FilmContents,
    what: str,
    log: DecoderLog,
    checkpoint: Callable[[], None],
) -> PacketTable:
    """Demux the film's `stream` and the streams in `tallies` to the end.

    `log` has collected the demuxer's messages since before `container` was opened; `checkpoint` is called at each packet
    of the film. Raises BadInput when there is no film in it.
    """
    pts, dts, duration, size, flags, places = (array("q") for _ in range(6))
    inspector = Inspector(stream.codec_context.name, stream.codec_context.extradata or b"")
    broken: list[str] = []
    film = stream.index
    heard = [(level, 0, words) for level, words in log.take_levels()]
    for packet in demux(container, {film, *tallies}, broken):
        heard += [(level, len(pts), words) for level, words in log.take_levels()]
        if packet.stream_index != film:
            if packet.size:  # empty packets of other streams only announce headers, and no container keeps them
                tallies[packet.stream_index].add(packet)
            continue
        checkpoint()
        places.append(packet.pos if packet.pos is not None else -1)
        pts.append(NONE if packet.pts is None else packet.pts)
        dts.append(NONE if packet.dts is None else packet.dts)
        duration.append(packet.duration or 0)
        size.append(packet.size)
        flags.append(inspector.flags(packet))  # type: ignore[arg-type]
        if packet.size:
            contents.see(len(pts) - 1, packet)  # type: ignore[arg-type]
        if len(pts) > MAX_FRAMES:
            raise BadInput(f"{what} has more than {MAX_FRAMES} packets of video; cut it into parts.")
    if not pts:
        raise BadInput(
            f"{what} holds no picture that can be read{': ' * bool(broken)}{''.join(broken)}; check the file."
        )
    heard += [(level, len(pts), words) for level, words in log.take_levels()]
    columns = [np.array(c, dtype=np.int64) for c in (pts, dts, duration, size, flags)]
    reached = np.maximum.accumulate(np.array(places, dtype=np.int64))
    for _, _, words in heard:  # parsers that cut sound into frames drop the flag
        corrupt = re.match(r"Packet corrupt \(stream = (\d+), dts = (-?\d+)\)", words)
        if corrupt and int(corrupt.group(1)) in tallies:
            tallies[int(corrupt.group(1))].incomplete.add(int(corrupt.group(2)))
    complaints = [(_near(words, number, reached), words) for level, number, words in heard if level <= av.logging.ERROR]
    notable = [words for level, _, words in heard if level > av.logging.ERROR and words.startswith(NOTABLE)]
    return PacketTable(
        columns[0], columns[1], columns[2], columns[3], columns[4], "".join(broken), tuple(complaints), tuple(notable)
    )


def _near(words: str, number: int, reached: npt.NDArray[np.int64]) -> int:
    """Return the id of the packet near the file position that a complaint names; without one, of the next packet."""
    named = re.search(r"(?:at|offset) 0x([0-9a-fA-F]+)|at pos \d+ \(0x([0-9a-fA-F]+)\)", words)
    if named and reached[-1] >= 0:
        number = int(np.searchsorted(reached, int(named.group(1) or named.group(2), 16)))
    elif "prematurely" in words:
        number = len(reached)
    return min(number, len(reached) - 1)
