"""Packets kept on disk, so that the source and the result need not be in memory at once.

Both keep tables of all their packets, which take 40 MB each for two hours of mp4.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal

if TYPE_CHECKING:
    from av.stream import Stream

_HEAD = struct.Struct("<HBBdqqqqqI")
_SIDE = struct.Struct("<BI")
NO_TIME = -(1 << 62)
KEY, CORRUPT = 1, 2


class Spool:
    """A file of (source stream, time in seconds, packet) in the order of writing. A context manager; the file has no name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Spool:
        self._file = tempfile.TemporaryFile(dir=self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, stream: int, time: float, packet: Packet[Stream], headers: bool = True) -> None:
        """Append a packet of `stream` (source index) at `time` seconds; without `headers` it loses a decoder's new ones."""
        base = packet.time_base
        kept = (s for s in packet.iter_sidedata() if headers or s.data_type != "new_extradata")
        side = [(s.data_type.encode(), bytes(s)) for s in kept]
        flags = (KEY if packet.is_keyframe else 0) | (CORRUPT if packet.is_corrupt else 0)
        pts = NO_TIME if packet.pts is None else packet.pts
        dts = NO_TIME if packet.dts is None else packet.dts
        head = _HEAD.pack(
            stream, flags, len(side), time, base.numerator, base.denominator, pts, dts,
            packet.duration or 0, packet.size,
        )  # fmt: skip
        self._file.write(head)
        for name, data in side:
            self._file.write(_SIDE.pack(len(name), len(data)) + name + data)
        self._file.write(packet)

    def __iter__(self) -> Iterator[tuple[int, float, Packet[Stream]]]:
        self._file.seek(0)
        bases: dict[tuple[int, int], Fraction] = {}
        while head := self._file.read(_HEAD.size):
            stream, flags, sides, time, num, den, pts, dts, duration, size = _HEAD.unpack(head)
            side = []
            for _ in range(sides):
                name_size, data_size = _SIDE.unpack(self._file.read(_SIDE.size))
                side.append((self._file.read(name_size).decode(), self._file.read(data_size)))
            packet = Packet(size)
            packet.update(self._file.read(size))
            packet.pts = None if pts == NO_TIME else pts
            packet.dts = None if dts == NO_TIME else dts
            base = bases.get((num, den)) or bases.setdefault((num, den), Fraction(num, den))
            packet.time_base = base
            packet.duration = duration
            packet.is_keyframe = bool(flags & KEY)
            packet.is_corrupt = bool(flags & CORRUPT)
            for kind, data in side:
                number = packet_sidedata_type_from_literal(kind)  # type: ignore[arg-type]  # it came from PyAV
                piece = PacketSideData(number, len(data))  # type: ignore[call-arg]  # PyAV's stubs leave it out
                piece.update(data)
                packet.set_sidedata(piece, move=True)
            yield stream, time, packet
