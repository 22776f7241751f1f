"""Copies of everything but the film: sound, subtitles, covers, in time with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import av.error

from contract.severity import Loss
from media.codecs import SUFFIXES
from media.copied_streams import codec_name
from media.demuxing import demux, end_padding, hidden_sound
from media.dolby_frames import first_frame
from media.opening import open_media, reason
from media.piece import move_packet, window_of
from orchestrator.assemble.convert_sound import SoundConverter
from orchestrator.assemble.verify import Track

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

    from contract.film import FilmIndex
    from orchestrator.assemble.mux import Covers, Outlet
    from orchestrator.assemble.packet_spool import Spool

PADDED = frozenset(("mp4", "mov", "mpegts"))
"""Muxers that do not write down how many samples at the end of sound are padding."""
FIXED = frozenset((("matroska", "aac"), ("webm", "aac")))
"""Muxers and codecs whose headers in the file are overwritten, too long, by headers that a packet brings. Films whose
configuration changes go into other containers; here a packet only repeats the headers (joined FLV)."""
_EARLY = -math.inf
"""Covers carry no time; they go first."""


MIME = {
    "mjpeg": ("jpg", "image/jpeg"),
    "png": ("png", "image/png"),
    "gif": ("gif", "image/gif"),
    "webp": ("webp", "image/webp"),
}


def read_covers(source: BinaryIO, index: FilmIndex) -> Covers:
    """Read the pictures of cover streams, where the result takes them as attachments (Matroska)."""
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


def misnamed_sound(source: BinaryIO, index: FilmIndex) -> dict[int, tuple[bytes, ...]]:
    """Return a frame of each copied stream of E-AC-3 that the source calls AC-3."""
    enhanced = [s.index for s in index.streams if s.codec == "eac3" and s.copied]
    if not enhanced:
        return {}
    with open_media(source, "the source") as container:
        wrong = [n for n in enhanced if codec_name(container.streams[n]) == "ac3"]
    return {n: (first_frame(source, n),) for n in wrong}


def with_decode_times(packets: Iterable[Packet[Stream]], streams: set[int]) -> Iterator[Packet[Stream]]:
    """Yield `packets` with decode times for the first ones of `streams`.

    Matroska's demuxer gives none until it has read as many pictures as may be reordered, and their presentation times do
    not rise.
    """
    held: dict[int, list[Packet[Stream]]] = {}
    for packet in packets:
        number = packet.stream_index
        if number in streams and packet.dts is None:
            held.setdefault(number, []).append(packet)
            continue
        early = held.pop(number, [])
        for i, one in enumerate(early):
            assert packet.dts is not None  # only such packets wait
            one.dts = packet.dts - (len(early) - i) * (one.duration or 1)
            yield one
        yield packet
    for early in held.values():
        yield from early


class Copies:
    """Everything but the film: read from the source once, kept on disk, and muxed when the film has reached its time.

    `move` seconds are added to all times.
    """

    def __init__(self, index: FilmIndex, outlet: Outlet, spool: Spool, move: Fraction) -> None:
        self._index, self._outlet, self._spool, self._move = index, outlet, spool, move
        self._base = float(Fraction(*index.time_base))
        self._last: dict[int, int] = {}
        self._given: dict[int, Track] = {}
        self._refused: dict[int, tuple[int, str]] = {}
        self._nudged: dict[int, int] = {}
        self._padding: dict[int, int] = {}
        self._unread: dict[int, int] = {}
        self._broken: list[str] = []
        self._strict = {
            n for n, s in outlet.others.items() if index.container in ("mp4", "mov") and s.type != "subtitle"
        }
        """Streams that take no decode time twice (FFmpeg's AVFMT_TS_NONSTRICT, and its exception for subtitles)."""
        self._fixed = {s.index for s in index.streams if (index.container, s.codec) in FIXED}
        self._window = window_of(index)
        self._timeless = {s.index for s in index.streams if s.kind == "cover"} if index.moved else set()

    def read(self, source: InputContainer) -> None:
        """Read the source's packets to disk, and remove the jumps of its clock."""
        wanted = {i for i in self._outlet.others if source.streams[i].type != "attachment"}
        if not wanted:
            return
        film, number, now = self._index.stream, 0, 0.0
        converters = {
            k.index: SoundConverter(source.streams[k.index], self._outlet.others[k.index])  # type: ignore[arg-type]
            for k in self._index.streams
            if k.converted and k.index in wanted
        }
        base = Fraction(*self._index.time_base)
        joins = [(0, Fraction(0)), *((i, shift * base) for i, shift in self._index.joins)]
        bases = {i: float(source.streams[i].time_base or 1) for i in wanted | {film}}
        mended = len(joins) > 1
        heard: dict[int, float] = {}
        part: dict[int, int] = {}
        pictures = {i for i in wanted if source.streams[i].type == "video"}
        packets = demux(source, wanted | {film} if mended else wanted, self._broken)
        for packet in with_decode_times(packets, pictures):
            number += packet.stream_index == film  # those without a time are counted too, as the index does
            if packet.stream_index != film and not packet.size:
                continue  # it announces headers to a decoder; no container keeps it
            if packet.stream_index != film and (hidden_sound(packet) or not self._belongs(packet)):
                continue
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is None:
                if packet.stream_index != film:
                    self._spool.write(packet.stream_index, _EARLY, packet, packet.stream_index not in self._fixed)
                continue
            time = stamp * bases[packet.stream_index]
            if packet.stream_index == film:
                now = time + float(next(move for i, move in reversed(joins) if number > i))
                continue
            move = self._move
            if mended:  # sound goes on where it was, however far the film is ahead of it; captions are near the film
                at = packet.stream_index
                beside = heard.get(at, now)
                moves = [m for _, m in joins[part.get(at, 0) :]]
                nearest = min(range(len(moves)), key=lambda i: abs(time + float(moves[i]) - beside))
                part[at] = part.get(at, 0) + nearest
                move += moves[nearest]
                if source.streams[at].type in ("audio", "video"):
                    heard[at] = time + float(moves[nearest])
            if move and packet.stream_index not in self._timeless:
                move_packet(packet, move)
            if packet.stream_index in converters:
                self._keep(packet.stream_index, converters[packet.stream_index].convert(packet))
                continue
            self._spool.write(packet.stream_index, time + float(move), packet, packet.stream_index not in self._fixed)
        for stream, converter in converters.items():
            self._keep(stream, converter.flush())
            self._unread[stream] = converter.failed

    def _belongs(self, packet: Packet[Stream]) -> bool:
        """Report whether a packet belongs to what is restored, and cut a subtitle to it."""
        if self._window is None:
            return True
        if not self._window.holds(packet):
            return False
        self._window.clip(packet)
        return True

    def _keep(self, stream: int, packets: Iterator[Packet[Stream]]) -> None:
        """Keep converted packets on disk, each at its time."""
        for packet in packets:
            self._spool.write(stream, float((packet.pts or 0) * packet.time_base), packet)

    def __enter__(self) -> Copies:
        self._packets = iter(self._spool)
        self._next = next(self._packets, None)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        while kind is None and self._next is not None:
            self._give()

    def up_to(self, film: Packet[VideoStream]) -> None:
        """Mux the packets that belong before the film's packet; leaving the context muxes the rest."""
        assert film.dts is not None
        limit = film.dts * self._base
        while self._next is not None and self._next[1] <= limit:
            self._give()

    def _give(self) -> None:
        assert self._next is not None
        number, _, packet = self._next
        self._next = next(self._packets, None)
        self._copy(number, packet)

    def _copy(self, number: int, packet: Packet[Stream]) -> None:
        target = self._outlet.others[number]
        if self._index.container in PADDED:
            self._padding[number] = self._padding.get(number, 0) + end_padding(packet)
        if packet.dts is None:
            packet.dts = packet.pts
        packet.stream = target
        if packet.dts is not None:
            # Containers accept no falling times, and mp4 and mov no equal ones; a damaged source has some.
            last = self._last.get(number)
            least = None if last is None else last + (number in self._strict)
            if least is not None and packet.dts < least:
                packet.dts = least
                if packet.pts is not None and packet.pts < packet.dts:
                    packet.pts = packet.dts
                self._nudged[number] = self._nudged.get(number, 0) + 1
            if not packet.duration and last is not None and target.type == "audio":
                packet.duration = packet.dts - last  # mp4 hides what begins where it believes the track to be over
            self._last[number] = packet.dts
        given = self._given.setdefault(number, Track(packet.time_base))
        try:
            given.add(packet)
            self._outlet.mux(packet)
        except av.error.FFmpegError as error:
            given.pts.pop()
            count, first = self._refused.get(number, (0, reason(error)))
            self._refused[number] = (count + 1, first)

    @property
    def copied(self) -> dict[int, tuple[int, Track]]:
        """Return, by source stream, the stream of the result and the packets given to the muxer."""
        return {n: (self._outlet.others[n].index, track) for n, track in self._given.items() if n not in self._refused}

    @property
    def fewer(self) -> frozenset[int]:
        """Return the streams of the source of which some packets could not be copied or converted."""
        known = {s.index: s for s in self._index.streams}
        short = {n for n, track in self._given.items() if not known[n].converted and len(track.pts) < known[n].packets}
        return frozenset(short | set(self._refused) | {n for n, count in self._unread.items() if count})

    @property
    def notes(self) -> list[str]:
        """List what could not be copied unchanged."""
        found: list[str] = [
            Loss(f"stream {number}: {count} packets could not be copied ({why})")
            for number, (count, why) in self._refused.items()
        ]
        found += [
            f"stream {number}: {count} packets carried a time that was taken or past and were moved on by up to a tick"
            for number, count in self._nudged.items()
        ]
        found += [
            f"stream {number}: {count} samples of padding at the end, which the source says are not to be heard, are heard "
            f"in {SUFFIXES[self._index.container]}"
            for number, count in self._padding.items()
            if count
        ]
        found += [
            Loss(f"stream {number}: {count} packets could not be decoded to be converted")
            for number, count in self._unread.items()
            if count
        ]
        for known in self._index.streams:
            count = len(self._given[known.index].pts) if known.index in self._given else 0
            if (
                known.copied
                and known.index in self._outlet.others
                and known.packets != count
                and not known.converted
                and known.kind != "attachment"
            ):
                found.append(f"stream {known.index}: {count} packets are copied, {known.packets} were seen at first")
        if self._broken:
            found.append(f"the source breaks off while sound and subtitles are copied ({self._broken[0]})")
        return found
