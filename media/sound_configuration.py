"""Sound whose sampling rate or channels change in the middle of a stream, found in its packets without decoding.

Containers describe a stream once. Some codecs repeat the description in each frame (ADTS, MPEG audio, AC-3); some
demuxers hand over a new one beside a packet (FLV, mp4 with several sample descriptions, chained Ogg).

Syntax: ISO/IEC 14496-3 1.6.2.1 and 1.A.2.2, ISO/IEC 11172-3 2.4.1.3, ATSC A/52 5.3 and E.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from media.bitstream import Bits

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AC3_RATES = (48000, 44100, 32000)
MPEG_RATES = (44100, 48000, 32000)
AC3_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
AAC_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
IN_FRAMES = frozenset(("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "ac3", "eac3"))
"""Codecs whose frames describe themselves in every container."""
KEPT_BESIDE = {"mp4": frozenset(("aac",)), "mov": frozenset(("aac",))}
"""Codecs by muxer that is given a new description beside a packet and writes it down, as tried with FFmpeg 8."""
KEPT_IN_FRAMES = {"mpegts": frozenset(("aac",))}
"""Codecs by muxer that leaves the frames' own headers on (ADTS), beside those of `IN_FRAMES`."""
CONFIRMED = 8
"""Frames in a row that must agree on a new configuration: a damaged header is none."""
MAX_CHANGES = 1000
"""Changes kept of one stream; a stream of noise has one at every packet."""


@dataclass(frozen=True)
class Change:
    """A new configuration of a stream from `seconds` on; `beside` when it came beside the packet."""

    seconds: float
    words: str
    beside: bool


@dataclass
class SoundConfigurations:
    """The configurations of one stream of sound. Call `see` for each packet in order."""

    codec: str
    extradata: bytes
    changes: list[Change] = field(default_factory=list)
    first: str = ""
    _doubt: list[tuple[float, str]] = field(default_factory=list)

    def see(self, packet: Packet[Stream]) -> None:
        """Compare a packet's configuration with the one before it."""
        if packet.has_sidedata("new_extradata"):
            extradata = bytes(packet.get_sidedata("new_extradata"))
            if extradata != self.extradata:
                self.first = self.first or described_extradata(self.codec, self.extradata)
                self.extradata = extradata
                self._add(_seconds(packet), described_extradata(self.codec, extradata), beside=True)
                return
        words = described_frame(self.codec, bytes(memoryview(packet)[:16]))
        if not words or (self.changes and self.changes[-1].beside):
            return
        now = self.changes[-1].words if self.changes else self.first
        if not now:
            self.first = words
        elif words == now:
            self._doubt.clear()
        else:
            if self._doubt and self._doubt[0][1] != words:
                self._doubt.clear()
            self._doubt.append((_seconds(packet), words))
            if len(self._doubt) == CONFIRMED:
                self._add(*self._doubt[0], beside=False)
                self._doubt.clear()

    def _add(self, seconds: float, words: str, beside: bool) -> None:
        if len(self.changes) < MAX_CHANGES:
            self.changes.append(Change(seconds, words, beside))

    def held_by(self, container: str) -> bool:
        """Report whether FFmpeg's muxer `container` keeps every configuration."""
        for change in self.changes:
            kept = KEPT_BESIDE if change.beside else KEPT_IN_FRAMES
            if self.codec not in kept.get(container, ()) and (change.beside or self.codec not in IN_FRAMES):
                return False
        return True

    @property
    def summary(self) -> str:
        """The changes in words, "" without any."""
        if not self.changes:
            return ""
        first = self.changes[0]
        more = f" ({len(self.changes)} changes)" if len(self.changes) > 1 else ""
        return f"changes from {self.first} to {first.words} at {first.seconds:.3f} s{more}"


def _seconds(packet: Packet[Stream]) -> float:
    stamp = packet.pts if packet.pts is not None else packet.dts
    return float((stamp or 0) * packet.time_base)


def described_frame(codec: str, head: bytes) -> str:
    """Return the rate and channels that a frame's own header gives, "" where it has none."""
    if len(head) < 7:
        return ""
    if codec == "aac" and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        bits = Bits(head[2:5])
        bits.u(2)
        rate = bits.u(4)
        bits.u(1)
        channels = bits.u(3)
        return _words(AAC_RATES[rate], AAC_CHANNELS[channels]) if rate < len(AAC_RATES) else ""
    if codec.startswith(("mp1", "mp2", "mp3")) and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        version, rate = head[1] >> 3 & 3, head[2] >> 2 & 3
        if rate == 3 or version == 1:
            return ""
        return _words(MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version], 1 if head[3] >> 6 == 3 else 2)
    if codec in ("ac3", "eac3") and head[:2] == b"\x0b\x77":
        return _ac3(head)
    return ""


def _ac3(head: bytes) -> str:
    """Return what the header of an AC-3 or E-AC-3 frame gives; dependent substreams give nothing."""
    if head[5] >> 3 > 10:
        if head[2] >> 6 == 1 or head[4] >> 6 == 3:
            return ""
        return _words(AC3_RATES[head[4] >> 6], AC3_CHANNELS[head[4] >> 1 & 7] + (head[4] & 1))
    bits = Bits(head[4:8])
    rate = bits.u(2)
    bits.u(14)
    mode = bits.u(3)
    for present in (mode & 1 and mode != 1, mode & 4, mode == 2):
        bits.u(2 if present else 0)
    return _words(AC3_RATES[rate], AC3_CHANNELS[mode] + bits.u(1)) if rate < 3 else ""


def described_extradata(codec: str, extradata: bytes) -> str:
    """Return the rate and channels of a stream description in words."""
    if codec == "aac" and len(extradata) >= 2:
        bits = Bits(extradata)
        if bits.u(5) != 31:
            rate = bits.u(4)
            if rate < len(AAC_RATES):
                channels = bits.u(4)
                return _words(AAC_RATES[rate], AAC_CHANNELS[channels] if channels < 8 else 0)
    return f"headers of {len(extradata)} bytes"


def _words(rate: int, channels: int) -> str:
    return f"{rate} Hz, {channels} channels" if channels else f"{rate} Hz, channels of its own"
