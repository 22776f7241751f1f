"""A piece of a film, seen from the other streams: the packets and chapters that belong to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.container.core import Chapter
    from av.packet import Packet
    from av.stream import Stream

    from contract.film import FilmIndex

FINE = Fraction(1, 20_000)
"""Seconds to which moved times are exact: the coarsest clock, a transport stream's, has 90000 ticks a second."""


@dataclass(frozen=True)
class Window:
    """Seconds of a source's clock between which a piece of it lies; None is the source's own beginning or end."""

    start: Fraction | None
    end: Fraction | None

    def covers(self, seconds: Fraction) -> bool:
        """Report whether a moment lies in the piece."""
        return (self.start is None or seconds >= self.start) and (self.end is None or seconds < self.end)

    def holds(self, packet: Packet[Stream]) -> bool:
        """Report whether a packet of another stream than the film's belongs to the piece.

        It begins in it; subtitles also belong to it that are still shown when it begins. Covers carry no time.
        """
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.stream.type == "video":
            return True
        begins = stamp * packet.time_base
        if self.covers(begins):
            return True
        return (
            packet.stream.type == "subtitle"
            and self.start is not None
            and begins < self.start < begins + (packet.duration or 0) * packet.time_base
        )

    def clip(self, packet: Packet[Stream]) -> None:
        """Let a subtitle that the piece holds begin and end within it."""
        if packet.stream.type != "subtitle" or packet.pts is None:
            return
        ends = packet.pts + (packet.duration or 0)
        if self.start is not None and packet.pts * packet.time_base < self.start:
            packet.pts = math.ceil(self.start / packet.time_base)
            packet.dts = packet.pts
        if self.end is not None and ends * packet.time_base > self.end:
            ends = math.floor(self.end / packet.time_base)
        if packet.duration:
            packet.duration = max(1, ends - packet.pts)


def window_of(index: FilmIndex) -> Window | None:
    """Return the window of an indexed piece; None for a whole film."""
    return None if index.piece is None else Window(*index.piece.window)


def chapters_of(container: InputContainer, window: Window | None) -> list[Chapter]:
    """Return the chapters of an open source, those of a piece cut to it; times stay on the source's clock."""
    chapters = container.chapters()
    if window is None:
        return chapters
    found: list[Chapter] = []
    for chapter in chapters:
        base = chapter["time_base"] or Fraction(1)
        start, end = chapter["start"], chapter["end"]
        if window.start is not None:
            start = max(start, math.ceil(window.start / base))
        if window.end is not None:
            end = min(end, math.floor(window.end / base))
        if start < end or (chapter["start"] == chapter["end"] and window.covers(chapter["start"] * base)):
            found.append({**chapter, "start": start, "end": end})
    return found


def move_packet(packet: Packet[Stream], move: Fraction) -> None:
    """Add `move` seconds to a packet's times, on a finer clock where its own is too coarse (24 ms for MP3 in AVI)."""
    ticks = move / packet.time_base
    if ticks.denominator > 1 and packet.time_base > FINE:
        finer = -(-packet.time_base // FINE)
        packet.pts = None if packet.pts is None else packet.pts * finer
        packet.dts = None if packet.dts is None else packet.dts * finer
        packet.duration = (packet.duration or 0) * finer
        packet.time_base /= finer
        ticks *= finer
    packet.pts = None if packet.pts is None else packet.pts + round(ticks)
    packet.dts = None if packet.dts is None else packet.dts + round(ticks)
