"""The heads of H.264 and HEVC packets, parsed without decoding.

Only what cutting needs: packets at which a decoder may start, second fields of frames, packets that are skipped at a
start. Syntax from ITU-T H.264 (08/2021) 7.3 and D.1.8, ITU-T H.265 (08/2021) 7.3.1.2. Anything malformed means "nothing
known", never an error: the decoder decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

HEAD = 1 << 16
"""Bytes of a packet that are parsed: parameter sets and messages come before the first slice."""

H264_SLICE, H264_IDR, H264_SEI, H264_SPS = 1, 5, 6, 7
HEVC_RASL = (8, 9)
HEVC_BLA_TO_IDR = range(16, 21)
HEVC_CRA = 21
HEVC_EOS = 36
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


class Bits:
    """Reader of bits, most significant first; past the end it returns zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u(self, count: int) -> int:
        """Read the next `count` bits as an unsigned number."""
        value = 0
        for _ in range(count):
            byte = self._data[self._at >> 3] if self._at >> 3 < len(self._data) else 0
            value = value << 1 | (byte >> (7 - (self._at & 7)) & 1)
            self._at += 1
        return value

    def ue(self) -> int:
        """Read an unsigned Exp-Golomb code (H.264 9.1)."""
        zeros = 0
        while self._at >> 3 < len(self._data) and zeros < 32 and not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Read a signed Exp-Golomb code (H.264 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def nal_units(data: bytes, length_size: int) -> Iterator[bytes]:
    """Yield the NAL units of a packet: with lengths of `length_size` bytes in front, or (0) between start codes."""
    if length_size:
        at = 0
        while at + length_size < len(data):
            size = int.from_bytes(data[at : at + length_size], "big")
            at += length_size
            yield data[at : at + size]
            at += size
        return
    at = data.find(b"\0\0\1")
    while at >= 0:
        after = data.find(b"\0\0\1", at + 3)
        yield data[at + 3 : after if after >= 0 else len(data)]
        at = after


def unescape(nal: bytes) -> bytes:
    """Return the payload without emulation prevention bytes (H.264 7.4.1)."""
    return nal.replace(b"\0\0\3", b"\0\0")


@dataclass
class PacketFacts:
    """Facts from a packet's head.

    `start`: a decoder may begin here; `field`: 0 frame, 1 top, 2 bottom field; `leading`: HEVC skips it when decoding starts
    at the key packet before it; `fresh`: HEVC decoding starts anew.
    """

    start: bool = True
    field: int = 0
    frame_num: int = -1
    leading: bool = False
    fresh: bool = False


@dataclass
class H264Reader:
    """Parser that follows parameter sets through a stream."""

    length_size: int
    interlaced: bool = False
    """True when a parameter set allows field pictures; only then slices are parsed."""
    _sps: dict[int, tuple[int, bool, bool]] = field(default_factory=dict)
    _pps: dict[int, int] = field(default_factory=dict)

    @classmethod
    def from_extradata(cls, extradata: bytes) -> H264Reader:
        """Make a parser for a stream with this extradata."""
        reader = cls(length_size=0)
        reader.add_extradata(extradata)
        return reader

    def add_extradata(self, extradata: bytes) -> None:
        """Take over the parameter sets of another sample description."""
        packed = extradata[:1] == b"\1" and len(extradata) > 6
        self.length_size = (extradata[4] & 3) + 1 if packed else 0
        for nal in avcc_units(extradata) if packed else nal_units(extradata, 0):
            self._parameters(nal)

    def look(self, data: bytes, key: bool) -> PacketFacts:
        """Return the facts about one packet. Frame and field numbers are only read where fields are possible."""
        facts = PacketFacts()
        if not key and not self.interlaced:
            return facts
        recovery = 0
        for nal in nal_units(data, self.length_size):
            if not nal:
                continue
            kind = nal[0] & 31
            if kind in (7, 8):
                self._parameters(nal)
            elif kind == H264_SEI:
                recovery = max(recovery, _recovery_frames(unescape(nal[1:256])))
            elif kind in (H264_SLICE, H264_IDR):
                facts.start = kind == H264_IDR or recovery == 0
                if self.interlaced:
                    facts.frame_num, facts.field = self._slice(unescape(nal[1:64]))
                break
        return facts

    def _parameters(self, nal: bytes) -> None:
        if len(nal) < 4:
            return
        bits = Bits(unescape(nal[1:512]))
        if nal[0] & 31 == H264_SPS:
            number, facts = read_sps(bits)
            self._sps[number] = facts
            self.interlaced = self.interlaced or not facts[1]
        elif nal[0] & 31 == 8:
            pps = bits.ue()
            self._pps[pps] = bits.ue()

    def _slice(self, data: bytes) -> tuple[int, int]:
        """Return (frame_num, field) of a slice header (H.264 7.3.3)."""
        bits = Bits(data)
        bits.ue()
        bits.ue()
        known = self._sps.get(self._pps.get(bits.ue(), -1))
        if known is None:
            return -1, 0
        frame_bits, whole, planes = known
        if planes:
            bits.u(2)
        number = bits.u(frame_bits)
        if whole or not bits.u(1):
            return number, 0
        return number, 1 + bits.u(1)


def avcc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of an avcC box (ISO/IEC 14496-15 5.3.3.1)."""
    at = 5
    for mask in (31, 255):
        if at >= len(extradata):
            return
        count = extradata[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def read_sps(bits: Bits) -> tuple[int, tuple[int, bool, bool]]:
    """Return (id, (bits of frame_num, frame_mbs_only_flag, separate_colour_plane_flag)) (H.264 7.3.2.1.1)."""
    profile = bits.u(8)
    bits.u(16)
    number = bits.ue()
    planes = False
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        if chroma == 3:
            planes = bool(bits.u(1))
        bits.ue()
        bits.ue()
        bits.u(1)
        if bits.u(1):
            for i in range(12 if chroma == 3 else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if i < 6 else 64)
    frame_bits = bits.ue() + 4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 255)):
            bits.se()
    bits.ue()
    bits.u(1)
    bits.ue()
    bits.ue()
    return number, (min(frame_bits, 32), bool(bits.u(1)), planes)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _recovery_frames(data: bytes) -> int:
    """Return recovery_frame_cnt of a recovery point message (H.264 D.1.8), 0 without one."""
    at = 0
    while at + 2 <= len(data):
        kind = size = 0
        while at < len(data) and data[at] == 255:
            kind, at = kind + 255, at + 1
        if at >= len(data):
            return 0
        kind, at = kind + data[at], at + 1
        while at < len(data) and data[at] == 255:
            size, at = size + 255, at + 1
        if at >= len(data):
            return 0
        size, at = size + data[at], at + 1
        if kind == 6:
            return Bits(data[at : at + size]).ue()
        at += size
    return 0


@dataclass
class HevcReader:
    """Parser of the kind of a packet's picture."""

    length_size: int

    @classmethod
    def from_extradata(cls, extradata: bytes) -> HevcReader:
        """Make a parser for a stream with this extradata."""
        reader = cls(length_size=0)
        reader.add_extradata(extradata)
        return reader

    def add_extradata(self, extradata: bytes) -> None:
        """Take over the length size of another sample description."""
        packed = len(extradata) > 22 and extradata[0] == 1
        self.length_size = (extradata[21] & 3) + 1 if packed else 0

    def look(self, data: bytes, key: bool) -> PacketFacts:  # noqa: ARG002 - H264Reader's signature
        """Return the facts about one packet."""
        facts = PacketFacts()
        for nal in nal_units(data, self.length_size):
            if len(nal) < 2:
                continue
            kind = nal[0] >> 1 & 63
            if kind == HEVC_EOS:
                facts.fresh = True
            if kind < 32:
                facts.leading = kind in HEVC_RASL
                facts.fresh = facts.fresh or kind in HEVC_BLA_TO_IDR
                break
        return facts


def reader_for(codec: str, extradata: bytes) -> H264Reader | HevcReader | None:
    """Return a parser for the packets of `codec`; None for codecs that need none."""
    if codec == "h264":
        return H264Reader.from_extradata(extradata)
    if codec == "hevc":
        return HevcReader.from_extradata(extradata)
    return None
