"""Parameter sets of H.264 and HEVC, by kind and number, as they stand at any packet of a stream.

Syntax: ITU-T H.264 7.3.2, ITU-T H.265 7.3.2, ISO/IEC 14496-15 8.3.3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from media.bitstream import Bits, avcc_units, nal_units, unescape

MAX_SETS = 256
"""Parameter sets kept of one stream; more are noise, of which the newest are kept."""
Sets = dict[tuple[int, int], tuple[tuple[int, int] | None, bytes]]
"""Parameter sets by (kind, number): the set that each refers to, and its NAL unit."""


@dataclass
class NalHeaders:
    """Parameter sets of H.264 and HEVC.

    A new set of the same number but other content removes the sets that refer to it, as it does in FFmpeg.
    """

    hevc: bool
    length_size: int = 0
    _first: Sets | None = None
    """Sets of the stream's first extradata."""
    _known: Sets = field(default_factory=dict)
    """Sets that a decoder gets beside the packets."""
    _active: Sets = field(default_factory=dict)

    def extradata(self, data: bytes) -> None:
        """Follow headers that come beside the packets."""
        self.length_size = length_size("hevc" if self.hevc else "h264", data)
        boxed = hvcc_units(data) if self.hevc else avcc_units(data)
        units = list(boxed if self.length_size else nal_units(data, 0))
        self._known = dict(self._first or {})
        for nal in units:
            self._keep(self._known, nal)
            self._keep(self._active, nal)
        if self._first is None:
            self._first = dict(self._known)

    def see(self, data: bytes) -> None:
        """Follow the headers inside a packet."""
        for nal in self._before_slices(data):
            self._keep(self._active, nal)

    def opened(self, data: bytes) -> bytes:
        """Return `data` behind the headers that a decoder which starts here lacks."""
        if self._active == self._known:
            return data
        sets = [self._active[key][1] for key in sorted(self._active)]
        size = self.length_size
        return b"".join((len(nal).to_bytes(size, "big") if size else b"\0\0\0\1") + nal for nal in sets) + data

    def _before_slices(self, data: bytes) -> Iterator[bytes]:
        """Yield the NAL units of a packet. Between start codes the search ends at the first slice, since sets start a new packet."""
        for nal in nal_units(data, self.length_size):
            if not nal:
                continue
            kind = nal[0] >> 1 & 63 if self.hevc else nal[0] & 31
            if not self.length_size and (kind < 32 if self.hevc else kind in (1, 5)):
                return
            yield nal

    def _keep(self, sets: Sets, nal: bytes) -> None:
        named = (_hevc_set(nal) if self.hevc else _h264_set(nal)) if len(nal) >= 4 else None
        if named is None:
            return
        (key, parent), nal = named, nal.rstrip(b"\0")
        if key in sets and sets[key][1] == nal:
            return
        orphans = {key}
        for child in sorted(sets):  # kinds are numbered so that parents come first
            if sets[child][0] in orphans:
                orphans.add(child)
        for orphan in orphans:
            sets.pop(orphan, None)
        if len(sets) >= MAX_SETS:
            del sets[next(iter(sets))]
        sets[key] = parent, nal


def _h264_set(nal: bytes) -> tuple[tuple[int, int], tuple[int, int] | None] | None:
    kind = nal[0] & 31
    bits = Bits(unescape(bytes(nal[1:64])))
    if kind == 7:
        bits.u(24)
        return (7, bits.ue()), None
    if kind == 8:
        number = bits.ue()
        return (8, number), (7, bits.ue())
    return None


def _hevc_set(nal: bytes) -> tuple[tuple[int, int], tuple[int, int] | None] | None:
    kind = nal[0] >> 1 & 63
    bits = Bits(unescape(bytes(nal[2:96])))
    if kind == 32:
        return (32, bits.u(4)), None
    if kind == 33:
        parent = bits.u(4)
        layers = bits.u(3)
        bits.u(1)
        bits.u(96)
        present = [(bits.u(1), bits.u(1)) for _ in range(layers)]
        bits.u(2 * (8 - layers) if layers else 0)
        for profile, level in present:
            bits.u(88 * profile + 8 * level)
        return (33, bits.ue()), (32, parent)
    if kind == 34:
        number = bits.ue()
        return (34, number), (33, bits.ue())
    return None


def hvcc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of an hvcC box (ISO/IEC 14496-15 8.3.3.1)."""
    at = 23
    for _ in range(extradata[22] if len(extradata) > 22 else 0):
        count = int.from_bytes(extradata[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def length_size(codec: str, extradata: bytes) -> int:
    """Return the bytes of the lengths before NAL units, 0 for start codes and for codecs without NAL units."""
    if codec == "h264":
        return (extradata[4] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > 6 else 0
    if codec == "hevc":
        return (extradata[21] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > 22 else 0
    return 0
