"""Concatenation of encoded chunks into one stream of packets with the times of the index."""

from __future__ import annotations

import contextlib
import heapq
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

from contract.errors import BadInput, VerifyError
from contract.film import CHUNK_DEMUXER, CHUNK_TICK, FilmIndex
from media.codecs import SUFFIXES
from media.columns import lasting, unpack
from media.demuxing import holds_early
from media.opening import open_media
from orchestrator.assemble.captions import CARRYING, Captions, with_captions

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


class ChunkJoiner:
    """Iterator of the film's packets in decode order, stamped in the index's time base.

    `template` describes the stream; `shift` is added to all times, sound and subtitles included. The i-th packet's decode time is the presentation time of the frame shown i - D frames into the film, where D is how
    far any frame is decoded ahead of its turn; before the first frame it is extrapolated backwards.
    """

    def __init__(
        self, index: FilmIndex, chunks: Iterable[BinaryIO], reorder: int | None, captions: Captions | None = None
    ) -> None:
        self.shift = 0
        self._captions = captions if captions and index.encoding.codec in CARRYING else {}
        self._index = index
        self._pts = unpack(index.pts)
        self._lasting = lasting(self._pts, unpack(index.durations))
        self._chunks = iter(chunks)
        self._number = -1
        self._reorder = reorder
        self._first = 0
        self._stack = contextlib.ExitStack()
        self.delivered = 0
        self.notes: list[str] = []

    def __enter__(self) -> ChunkJoiner:
        opened = self._open_next()
        if opened is None:
            raise BadInput(
                "no chunk of the film holds a frame: nothing in the source could be decoded; check the file."
            )
        self._opened: InputContainer | None = opened
        self.template = _film_of(opened)
        self._extradata = self.template.codec_context.extradata
        if self._reorder is None:
            self._reorder = self.template.codec_context.reorder_depth
        self.shift = late(self._index, self._reorder or 0)
        if self.shift > self._index.moved:
            seconds = float((self.shift - self._index.moved) * Fraction(*self._index.time_base))
            self.notes.append(_later(self._index, seconds))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _open_next(self) -> InputContainer | None:
        """Open the next chunk that is not empty."""
        for file in self._chunks:
            self._number += 1
            if self._number >= len(self._index.chunks):
                raise VerifyError(f"more chunks were given than the {len(self._index.chunks)} of the plan.")
            if file.read(1):
                file.seek(0)
                what = f"encoded chunk {self._number}"
                return self._stack.enter_context(open_media(file, what, demuxers=(CHUNK_DEMUXER,)))
            self._say_missing(0)
        return None

    def _say_missing(self, given: int) -> None:
        chunk = self._index.chunks[self._number]
        if given != chunk.count:
            self.notes.append(
                f"frames {chunk.first} to {chunk.first + chunk.count - 1}: the source gives {given} of {chunk.count} frames"
            )

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        held: Packet[VideoStream] | None = None
        start = 0
        for packet in self._joined():
            if held is None:
                start = packet.dts or 0
            else:
                yield held
            held = packet
        if held is None:
            return
        if self._index.container in ("mp4", "mov"):
            # The length of their tracks is the last decode time plus the last packet's duration.
            shown = int(self._pts[-1] + self._lasting[-1]) - self._first
            held.duration = max(1, shown - ((held.dts or 0) - start))
        yield held

    def _joined(self) -> Iterator[Packet[VideoStream]]:
        waiting: list[int] = []
        depth = self._reorder or 0
        base = Fraction(*self._index.time_base)
        step = int(self._lasting[0])
        first = 0
        number = 0
        while self._opened is not None:
            given = 0
            for packet, position in self._stamped(self._opened):
                pts = int(self._pts[position])
                if number == 0:
                    first = self._first = pts
                heapq.heappush(waiting, pts)
                dts = heapq.heappop(waiting) if number >= depth else first - (depth - number) * step
                if dts > pts:
                    raise VerifyError(
                        f"frame {position} is decoded more than {depth} frames ahead of its turn, which no chunk announced."
                    )
                packet.pts, packet.dts = pts + self.shift, dts + self.shift
                packet.duration = int(self._lasting[position])
                packet.time_base = base
                triplets = self._captions.get(position)
                yield with_captions(packet, triplets, CARRYING[self._index.encoding.codec]) if triplets else packet
                number += 1
                given += 1
            self._say_missing(given)
            self.delivered += given
            self._stack.close()
            self._opened = self._open_next()
            if self._opened is not None and _film_of(self._opened).codec_context.extradata != self._extradata:
                raise VerifyError(
                    f"chunk {self._number} was encoded with other headers than the first; use the same version of PyAV "
                    "on all workers, and for encoders of cards also one kind of card with one driver, and retry."
                )
        if self._number != len(self._index.chunks) - 1:
            raise VerifyError(f"{self._number + 1} chunks were given, the plan has {len(self._index.chunks)}.")

    def _stamped(self, container: InputContainer) -> Iterator[tuple[Packet[VideoStream], int]]:
        """Yield the packets of one chunk with the positions of their frames."""
        chunk = self._index.chunks[self._number]
        seen: set[int] = set()
        stream = _film_of(container)
        if stream.time_base != CHUNK_TICK:
            raise VerifyError(f"chunk {self._number} counts in {stream.time_base} s, not in frames; retry the job.")
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            ordinal = -1 if packet.pts is None else packet.pts
            if not 0 <= ordinal < chunk.count or ordinal in seen:
                raise VerifyError(
                    f"chunk {self._number} holds a frame numbered {ordinal}, of {chunk.count}; retry the job."
                )
            if not seen and not packet.is_keyframe:
                raise VerifyError(f"chunk {self._number} does not begin with a key frame; retry the job.")
            seen.add(ordinal)
            yield packet, chunk.first + ordinal


def late(index: FilmIndex, reorder: int) -> int:
    """Return the time base units by which everything starts later in a container without times before 0.

    mp4 and mov hide what lies before 0. `reorder` is how far any frame is decoded ahead of its turn. A piece from the middle of a
    film starts earlier, at 0.
    """
    base = Fraction(*index.time_base)
    pts = unpack(index.pts) + index.moved
    # Only a transport stream has no decode times before 0 either.
    ahead = reorder * int(lasting(pts, unpack(index.durations))[0]) if index.container == "mpegts" else 0
    earliest = min([(int(pts[0]) - ahead) * base, *(start for start, _ in _unheld(index))])
    return index.moved + max(0, math.ceil(-earliest / base))


def _unheld(index: FilmIndex) -> list[tuple[Fraction, int]]:
    """List start and packets of the copied streams that the container does not keep where they begin before 0."""
    base = Fraction(*index.time_base)
    timed = [
        (Fraction(s.start) + index.moved * base, s.packets)
        for s in index.streams
        if s.copied and s.packets and s.kind != "cover"
    ]
    return [(start, packets) for start, packets in timed if not holds_early(index.container, start, packets)]


def _later(index: FilmIndex, seconds: float) -> str:
    """Say that picture and sound start later, and why."""
    suffix = SUFFIXES[index.container]
    early = [(start, packets) for start, packets in _unheld(index) if start < 0]
    alone = all(holds_early(index.container, start, packets + 1) for start, packets in early)
    if early and alone and unpack(index.pts)[0] + index.moved >= 0:
        return f"{suffix} has no time for a single packet from before 0: picture and sound start {seconds:.3f} s later together"
    return f"{suffix} shows nothing from before 0: picture and sound alike start {seconds:.3f} s later"


def _film_of(container: InputContainer) -> VideoStream:
    return container.streams.video[0]
