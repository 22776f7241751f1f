"""Copying everything but the film: sound, subtitles, covers, in time with it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import av.error
from av.stream import Discard

from contract.media import open_media, reason
from orchestrator.assemble.verify import Track

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

    from contract.film import FilmIndex
    from orchestrator.assemble.mux import Covers, Outlet

_EARLY = Fraction(-(1 << 40))
"""Covers carry no time; they go first."""


MIME = {
    "mjpeg": ("jpg", "image/jpeg"),
    "png": ("png", "image/png"),
    "gif": ("gif", "image/gif"),
    "webp": ("webp", "image/webp"),
}


def read_covers(source: BinaryIO, index: FilmIndex) -> Covers:
    """The pictures of cover streams, where the result takes them as attachments (Matroska)."""
    wanted = {s.index: s for s in index.streams if s.kind == "cover" and s.copied}
    found: Covers = {}
    if index.container != "matroska" or not wanted:
        return found
    with open_media(source, "the source") as container:
        for packet in container.demux([container.streams[i] for i in wanted]):
            stream = container.streams[packet.stream_index]
            if packet.size and stream.index not in found:
                suffix, mime = MIME.get(wanted[stream.index].codec, ("bin", "application/octet-stream"))
                name = stream.metadata.get("filename") or f"cover.{suffix}"
                found[stream.index] = (name, stream.metadata.get("mimetype") or mime, bytes(packet))
            if len(found) == len(wanted):
                break
    return found


class Copier:
    """Takes packets from the source and gives them to the result when the film has got as far."""

    def __init__(self, source: InputContainer, outlet: Outlet, index: FilmIndex, shift: int) -> None:
        self._outlet = outlet
        self._index = index
        self._shift = shift * Fraction(*index.time_base)
        self._last: dict[int, int] = {}
        self._given: dict[int, Track] = {}
        self._refused: dict[int, tuple[int, str]] = {}
        self._moved: dict[int, int] = {}
        self._broken = ""
        wanted = {i for i in outlet.others if source.streams[i].type != "attachment"}
        if index.joins:
            wanted.add(index.stream)
        for stream in source.streams:
            if stream.index not in wanted:
                stream.discard = Discard.all
        self._packets = self._demux(source, wanted) if wanted - {index.stream} else iter(())
        self._next = next(self._packets, None)

    def _demux(self, source: InputContainer, wanted: set[int]) -> Iterator[tuple[Fraction, Packet[Stream]]]:
        """(time in seconds, packet) with the clock's falls mended."""
        film, number, now = self._index.stream, 0, Fraction(0)
        base = Fraction(*self._index.time_base)
        joins = ((0, 0), *self._index.joins)
        packets = source.demux([source.streams[i] for i in sorted(wanted)])
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self._broken = reason(error)
                return
            if packet is None:
                return
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue
            stamp = packet.dts if packet.dts is not None else packet.pts
            time = _EARLY if stamp is None else stamp * packet.time_base
            if packet.stream_index == film:
                shift = next(s for i, s in reversed(joins) if number >= i)
                now = time + shift * base if stamp is not None else now
                number += 1
                continue
            move = self._shift
            if self._index.joins and stamp is not None:
                move += min((s * base for _, s in joins), key=lambda s: abs(time + s - now))
            if move and stamp is not None:
                ticks = round(move / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
                time += move
            yield time, packet

    def up_to(self, film: Packet[VideoStream]) -> None:
        """Copy what belongs before the film's packet."""
        assert film.dts is not None
        limit = film.dts * film.time_base
        while self._next is not None and self._next[0] <= limit:
            self._copy(self._next[1])
            self._next = next(self._packets, None)

    def rest(self) -> None:
        while self._next is not None:
            self._copy(self._next[1])
            self._next = next(self._packets, None)

    def _copy(self, packet: Packet[Stream]) -> None:
        number = packet.stream_index
        target = self._outlet.others[number]
        if packet.dts is None:
            packet.dts = packet.pts
        packet.stream = target
        if packet.dts is not None:
            # A container takes no time twice in a stream; a damaged or sloppy source gives some.
            last = self._last.get(number)
            if last is not None and packet.dts <= last:
                packet.dts = last + 1
                if packet.pts is not None and packet.pts < packet.dts:
                    packet.pts = packet.dts
                self._moved[number] = self._moved.get(number, 0) + 1
            self._last[number] = packet.dts
        given = self._given.setdefault(number, Track(packet.time_base))
        try:
            given.add(packet)
            self._outlet.container.mux(packet)
        except av.error.FFmpegError as error:
            given.pts.pop()
            count, first = self._refused.get(number, (0, reason(error)))
            self._refused[number] = (count + 1, first)

    @property
    def copied(self) -> dict[int, tuple[int, Track]]:
        """By source stream: the stream of the result, and what was given to the muxer."""
        return {n: (self._outlet.others[n].index, track) for n, track in self._given.items() if n not in self._refused}

    @property
    def notes(self) -> list[str]:
        """What could not be copied as it was."""
        found = [
            f"stream {number}: {count} packets could not be copied ({why})"
            for number, (count, why) in self._refused.items()
        ]
        found += [
            f"stream {number}: {count} packets carried the time of the one before and were moved on by a tick"
            for number, count in self._moved.items()
        ]
        for known in self._index.streams:
            count = len(self._given[known.index].pts) if known.index in self._given else 0
            if (
                known.copied
                and known.index in self._outlet.others
                and known.packets != count
                and known.kind != "attachment"
            ):
                found.append(f"stream {known.index}: {count} packets are copied, {known.packets} were seen at first")
        if self._broken:
            found.append(f"the source breaks off while sound and subtitles are copied ({self._broken})")
        return found
