"""From a packet run to frames: exactly the owned ones, in output order, with every sign of damage kept.

Each packet carries its position as an opaque object, which the decoder hands on to the frame, so no timestamp is
trusted to tell frames apart. Threads are used until anything is amiss; from there the run is decoded again with one
thread, because only that gives the same frames everywhere on damaged input.
"""

from __future__ import annotations

import heapq
import zlib
from collections import deque
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import av.error
from av.codec.context import ThreadType
from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from contract.errors import Unsupported
from contract.film import Span
from contract.packets import CORRUPT, KEY, MARKED, RunHeader, RunPacket, RunReader
from media.opening import DecoderLog, reason

if TYPE_CHECKING:
    from av.video.stream import VideoStream

REORDER = 16
"""Frames held back while one that should come earlier is missing: the largest decoded picture buffer of H.264."""
SERIAL = frozenset(("mpeg4", "vp8"))
"""Codecs whose decoders give other samples with threads than without: on sound input too (interlaced MPEG-4, FFmpeg 8), or
in places that they never decoded (VP8)."""
TWICE = frozenset(("vp8",))
"""Codecs whose decoders, where a frame's data end too early, leave the rest of the picture as it was in a used buffer and say
nothing. They are run twice over buffers that were used differently, and what is not the same was not decoded."""
HELD = 7
"""Frames that the second decoder's buffers are kept occupied by, more than the first one's ever are."""
NO_PICTURE = "no picture comes out of the source's data"
BUILDS_ON = "builds on a damaged picture"


class Place:
    """The position of a frame, as an object of its own: PyAV keeps opaque values by identity."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class RunDecoder:
    """Decodes the owned frames (and `context` ones around them) of one run.

    Iterate for (position, frame) in rising order of position. Afterwards `damage` says which owned frames the source
    does not give whole, and `missing` which not at all.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._path = path
        self._threads = threads
        with path.open("rb") as file:
            self.header = RunReader(file).header
        header = self.header
        self.low = max(0, header.first - header.context)
        self.high = min(header.frames, header.first + header.count + header.context)
        self._suspect: dict[int, str] = {}
        self._decode_order: list[tuple[int, bool]] = []
        self._seen: set[int] = set()

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        waiting: list[tuple[int, int, VideoFrame]] = []
        ticket = count()
        expected = self.low
        for position, frame in self._decoded():
            heapq.heappush(waiting, (position, next(ticket), frame))
            while waiting and (waiting[0][0] <= expected or len(waiting) > REORDER):
                position, _, frame = heapq.heappop(waiting)
                expected = position + 1
                yield position, frame
        while waiting:
            position, _, frame = heapq.heappop(waiting)
            yield position, frame

    def _decoded(self) -> Iterator[tuple[int, VideoFrame]]:
        """Frames of `low` .. `high`, each once, in the decoder's order."""
        wanted = 1 if self.header.codec in SERIAL else self._threads
        for threads in dict.fromkeys((wanted, 1)):
            with _Attempt(self._path, threads) as attempt:
                again = _sums(self._path, threads) if self.header.codec in TWICE else None
                for position, frame in attempt.frames():
                    if attempt.trouble and threads != 1:
                        break
                    if again is not None and next(again, None) != (position, _sum(frame)):
                        attempt.doubt(position, "parts of it are not decoded")
                    if self.low <= position < self.high and position not in self._seen:
                        self._seen.add(position)
                        yield position, frame
                else:
                    if threads == 1 or not attempt.trouble:
                        self._suspect, self._decode_order = attempt.suspect, attempt.order
                        return

    @property
    def missing(self) -> list[int]:
        """Owned positions that no frame came for."""
        first, after = self.header.first, self.header.first + self.header.count
        return [p for p in range(first, after) if p not in self._seen]

    @property
    def damage(self) -> list[Span]:
        """What to tell about the owned frames, those included that are decoded from a damaged one."""
        reasons: dict[int, str] = {}
        following = False
        since: int | None = None
        for position, key in self._decode_order:
            if key:
                since, following = (position, following) if following else (None, False)
            elif since is not None and position > since:
                since, following = None, False  # past the pictures that lead the key and may still look back
            if position in self._suspect:
                following, since = True, None
            elif following and not key:
                reasons[position] = BUILDS_ON
        reasons.update(self._suspect)
        reasons.update(dict.fromkeys(self.missing, NO_PICTURE))
        first, after = self.header.first, self.header.first + self.header.count
        return spans({p: r for p, r in reasons.items() if first <= p < after})


class _Attempt:
    """One pass of a decoder over a run, listening to its log: many a broken picture is neither an error nor marked."""

    def __init__(self, path: Path, threads: int) -> None:
        self._file = path.open("rb")
        self._reader = RunReader(self._file)
        self._context = open_decoder(self._reader.header, threads)
        self._log = DecoderLog(self._context.name, threads=True)
        self._settled_at: int | None = None
        self._settled_by_key = False
        self.suspect: dict[int, str] = {}
        self.order: list[tuple[int, bool]] = []
        self.trouble = False

    def __enter__(self) -> _Attempt:
        self._log.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        # Threads must be idle before the decoder goes: one that logs needs the interpreter, which would be waiting.
        self._context.flush_buffers()
        self._log.__exit__(*exc)
        self._file.close()

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        preroll = self._reader.header.preroll
        position = -1
        for number, stored in enumerate(self._reader):
            if not stored.data:
                continue
            position = stored.position
            if number >= preroll and self._settled_at is None and position >= 0:
                self._settled_at = position
                self._settled_by_key = number > 0 and bool(stored.flags & KEY)
            self.order.append((position, bool(stored.flags & KEY)))
            if stored.flags & CORRUPT:
                self._note(position, "bytes of it are missing in the container")
            yield from self._feed(_to_packet(stored), position)
        yield from self._feed(None, position)

    def _feed(self, packet: Packet[VideoStream] | None, position: int) -> Iterator[tuple[int, VideoFrame]]:
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.FFmpegError as error:
            self._note(position, f"the decoder refuses its data ({reason(error)})")
            frames = []
        for message in self._log.take():
            self._note(position, f"the decoder says: {message}")
        for frame in frames:
            place = frame.opaque
            at = place.position if isinstance(place, Place) else position
            if frame.is_corrupt:
                self._note(at, "the decoder had to guess parts of it")
            elif at == self._settled_at and self._settled_by_key and leans(frame):
                self._note(at, "it is marked as a key frame and refers to others")
            yield at, frame

    def doubt(self, position: int, reason: str) -> None:
        """Say of a frame that it is not what the source holds."""
        self._note(position, reason)

    def _note(self, position: int, reason: str) -> None:
        """Remember trouble, unless it is the expected one of a decoder that starts in the middle of a stream."""
        self.trouble = True
        if self._settled_at is not None and position >= self._settled_at:
            self.suspect.setdefault(position, reason)


def _sum(frame: VideoFrame) -> int:
    """A checksum of the memory of a frame's lines, without what lies behind them."""
    total = 0
    for plane in frame.planes:
        lines = memoryview(plane).cast("B")
        for y in range(plane.height):
            total = zlib.crc32(lines[y * plane.line_size : y * plane.line_size + plane.width], total)
    return total


def _sums(path: Path, threads: int) -> Iterator[tuple[int, int]]:
    """Positions and checksums of all frames of a run, decoded while the last HELD frames are kept."""
    kept: deque[VideoFrame] = deque(maxlen=HELD)
    with path.open("rb") as file:
        reader = RunReader(file)
        context = open_decoder(reader.header, threads)
        position = -1
        for stored in chain(reader, (None,)):
            if stored is not None and not stored.data:
                continue
            position = position if stored is None else stored.position
            try:
                frames = context.decode(None if stored is None else _to_packet(stored))
            except av.error.FFmpegError:
                continue
            for frame in frames:
                kept.append(frame)
                yield frame.opaque.position if isinstance(frame.opaque, Place) else position, _sum(frame)


def leans(frame: VideoFrame) -> bool:
    """Whether the decoder says that `frame` refers to others, so that decoding cannot have settled there."""
    return not frame.key_frame and frame.pict_type in (PictureType.P, PictureType.B)


def open_decoder(header: RunHeader, threads: int) -> VideoCodecContext:
    """A bare decoder as the container would have set it up. Raises Unsupported when there is none."""
    try:
        context = av.CodecContext.create(header.codec, "r")
    except ValueError as error:
        raise Unsupported(
            f"no decoder for {header.codec!r} on this worker; install the same PyAV everywhere."
        ) from error
    assert isinstance(context, VideoCodecContext)
    if header.extradata:
        context.extradata = header.extradata
    context.width, context.height = header.width, header.height
    context.pix_fmt = header.pix_fmt
    if header.bits_per_coded_sample:
        context.bits_per_coded_sample = header.bits_per_coded_sample
    if len(header.codec_tag) == 4:
        context.codec_tag = header.codec_tag
    context.reorder_depth = header.reorder
    context.copy_opaque = True
    context.thread_count = threads
    context.thread_type = ThreadType.AUTO if threads != 1 else ThreadType.NONE
    return context


def _to_packet(stored: RunPacket) -> Packet[VideoStream]:
    # Allocated by FFmpeg with its padding; Packet(bytes) has none.
    packet = cast("Packet[VideoStream]", Packet(len(stored.data)))
    packet.update(stored.data)
    packet.opaque = Place(stored.position)
    packet.is_keyframe = bool(stored.flags & MARKED)  # some decoders build on the picture before unless told so
    for kind, data in stored.side:
        number = packet_sidedata_type_from_literal(kind)  # type: ignore[arg-type]  # checked by the lookup
        side = PacketSideData(number, len(data))  # type: ignore[call-arg]  # PyAV's stubs leave the constructor out
        side.update(data)
        packet.set_sidedata(side, move=True)
    return packet


def spans(reasons: dict[int, str]) -> list[Span]:
    """Neighbouring positions with the same reason as one span."""
    found: list[Span] = []
    for position in sorted(reasons):
        last = found[-1] if found else None
        if last and last.first + last.count == position and last.reason == reasons[position]:
            found[-1] = Span(last.first, last.count + 1, last.reason)
        else:
            found.append(Span(position, 1, reasons[position]))
    return found
