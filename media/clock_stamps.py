"""Time code in H.264 and HEVC pictures: clock timestamps of supplemental messages.

Sources: ITU-T H.264 (08/2021) D.1.3 (picture timing), E.1.1 and E.1.2 (what it depends on); ITU-T H.265 (08/2021) D.2.27.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from media.bitstream import H264_SPS, Bits, avcc_units, nal_units, read_sps, unescape
from media.time_code import TimeCode

CLOCKS = (1, 1, 1, 2, 2, 3, 3, 2, 3)
"""Clock timestamps of a picture by pic_struct (H.264 table D-1)."""
DROP = 4
"""counting_type of drop frame."""
CPB_MOST = 32
"""Most entries of a description of buffers."""


@dataclass(frozen=True)
class _Timing:
    """Layout of picture timing messages, from a sequence parameter set: bits of two delays, and whether pic_struct is there."""

    delays: tuple[int, int] = (0, 0)
    structured: bool = False


@dataclass
class ClockStamps:
    """Reader of the time code of one film's packets, in decode order. Malformed data say nothing."""

    codec: str
    extradata: bytes
    _timing: _Timing = field(default_factory=_Timing)
    _last: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.codec == "h264":
            self._sets(avcc_units(self.extradata) if self.extradata[:1] == b"\1" else nal_units(self.extradata, 0))

    def key(self, head: bytes, length_size: int) -> None:
        """Read the parameter sets of a key packet, which begins with `head`."""
        if self.codec == "h264":
            self._sets(nal_units(head, length_size))

    def read(self, payload: bytes) -> TimeCode | None:
        """Return the time code of a message (`media.picture_messages.TIMING`)."""
        bits = Bits(payload)
        code = self._hevc(bits) if self.codec == "hevc" else self._h264(bits)
        if code is None or code.hours > 23 or code.minutes > 59 or code.seconds > 59:
            return None
        self._last = (code.hours, code.minutes, code.seconds)
        return code

    def _sets(self, units: Iterable[bytes]) -> None:
        for nal in units:
            if nal and nal[0] & 31 == H264_SPS:
                self._timing = _timing(Bits(unescape(nal[1:])))

    def _h264(self, bits: Bits) -> TimeCode | None:
        if not self._timing.structured:
            return None
        for length in self._timing.delays:
            bits.u(length)
        structure = bits.u(4)
        for _ in range(CLOCKS[structure] if structure < len(CLOCKS) else 0):
            if bits.u(1):
                bits.u(2)  # ct_type
                return self._clock(bits, 8)
        return None

    def _hevc(self, bits: Bits) -> TimeCode | None:
        for _ in range(bits.u(2)):
            if bits.u(1):
                return self._clock(bits, 9)
        return None

    def _clock(self, bits: Bits, frame_bits: int) -> TimeCode:
        """Read a clock timestamp; parts that it leaves out are those of the one before."""
        bits.u(1)  # counted in fields
        counting, full = bits.u(5), bits.u(1)
        bits.u(2)  # a discontinuity, a dropped count
        frames = bits.u(frame_bits)
        hours, minutes, seconds = self._last
        if full:
            seconds, minutes, hours = bits.u(6), bits.u(6), bits.u(5)
        elif bits.u(1):
            seconds = bits.u(6)
            if bits.u(1):
                minutes = bits.u(6)
                if bits.u(1):
                    hours = bits.u(5)
        return TimeCode(hours, minutes, seconds, frames, counting == DROP)


def _timing(bits: Bits) -> _Timing:
    """Read the rest of a sequence parameter set after its identity, as far as picture timing depends on it."""
    _, (_, frames_only, _) = read_sps(bits)
    if not frames_only:
        bits.u(1)
    bits.u(1)
    if bits.u(1):
        for _ in range(4):
            bits.ue()
    if not bits.u(1):
        return _Timing()
    if bits.u(1) and bits.u(8) == 255:
        bits.u(32)
    if bits.u(1):
        bits.u(1)
    if bits.u(1):
        bits.u(4)
        if bits.u(1):
            bits.u(24)
    if bits.u(1):
        bits.ue()
        bits.ue()
    if bits.u(1):
        bits.u(65)
    buffers = [_buffers(bits) for _ in range(2) if bits.u(1)]
    if buffers:
        bits.u(1)
    return _Timing(buffers[0] if buffers else (0, 0), bool(bits.u(1)))


def _buffers(bits: Bits) -> tuple[int, int]:
    """Read a description of buffers; return the bits of two delays."""
    count = bits.ue() + 1
    bits.u(8)
    for _ in range(min(count, CPB_MOST)):
        bits.ue()
        bits.ue()
        bits.u(1)
    bits.u(5)
    delays = bits.u(5) + 1, bits.u(5) + 1
    bits.u(5)
    return delays
