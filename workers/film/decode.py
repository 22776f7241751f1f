"""Decoding of a packet run to exactly the owned frames, in output order, with a record of all damage.

Each packet has its position as an opaque object, which the decoder copies to the frame, so frames are not identified by
timestamps. Several threads are used until any fault appears; then the run is decoded again with one
thread, because only that gives the same frames on every machine for damaged input.
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
from av.codec.context import ThreadType
from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal
from av.video.codeccontext import VideoCodecContext

from contract.errors import Unsupported
from contract.film import UNPLACED, Span
from contract.packets import CORRUPT, KEY, MARKED, RunHeader, RunPacket, RunReader
from media.codecs import PROGRESSIVE
from media.decoding import FALSE_KEY, NO_PICTURE, UNDECODED, PacketDecoder, refers_to_others, spans, with_dependants
from media.opening import DecoderLog

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

REORDER = 16
"""Frames held back while an earlier one is missing: the largest decoded picture buffer of H.264."""
SERIAL = frozenset(("mpeg4", "vp8"))
"""Codecs whose decoders return other samples with several threads than with one: on intact input too (interlaced MPEG-4,
FFmpeg 8), or in areas that they did not decode (VP8)."""
TWICE = frozenset(("vp8",))
"""Codecs whose decoders silently keep the old contents of a reused buffer where a frame's data end too early. They are run twice
with buffers that were used differently; pixels that differ were not decoded."""
HELD = 7
"""Frames that keep buffers of the second decoder occupied, so that it reuses others than the first one."""


class RunDecoder:
    """A decoder of the owned frames of one run, and of `context` frames around them.

    Iterate for (position, frame) in increasing order of position. Afterwards `damage` lists the damaged owned frames and
    `missing` those without any picture.
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
        """Yield the frames of `low` .. `high`, each once, in the decoder's order."""
        wanted = 1 if self.header.codec in SERIAL else self._threads
        for threads in dict.fromkeys((wanted, 1)):
            with _Attempt(self._path, threads) as attempt:
                again = _sums(self._path, threads) if self.header.codec in TWICE else None
                for position, frame in attempt.frames():
                    if attempt.trouble and threads != 1:
                        break
                    if again is not None and next(again, None) != (position, _sum(frame)):
                        attempt.note(position, UNDECODED)
                    if self.low <= position < self.high and position not in self._seen:
                        self._seen.add(position)
                        yield position, frame
                else:
                    if threads == 1 or not attempt.trouble:
                        self._suspect, self._decode_order = attempt.suspect, attempt.order
                        return

    @property
    def missing(self) -> list[int]:
        """Owned positions without a decoded frame."""
        first, after = self.header.first, self.header.first + self.header.count
        return [p for p in range(first, after) if p not in self._seen]

    @property
    def damage(self) -> list[Span]:
        """Damage to report about the owned frames, including those that are decoded from a damaged one."""
        reasons = with_dependants(self._decode_order, self._suspect)
        reasons.update(dict.fromkeys(self.missing, NO_PICTURE))
        first, after = self.header.first, self.header.first + self.header.count
        return spans({p: r for p, r in reasons.items() if first <= p < after})


class _Attempt:
    """One pass of a decoder over a run; its log is read too, as many broken pictures raise no error and have no mark."""

    def __init__(self, path: Path, threads: int) -> None:
        self._file = path.open("rb")
        self._reader = RunReader(self._file)
        self._context = open_decoder(self._reader.header, threads)
        self._log = DecoderLog(self._context.name, threads=True)
        self._decoder = PacketDecoder(self._context, self._log, self.note)
        self._settled_at: int | None = None
        self._settled_by_key = False
        self.suspect: dict[int, str] = {}
        self.order: list[tuple[int, bool]] = []
        self.trouble = False

    def __enter__(self) -> _Attempt:
        self._log.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        # Threads must be idle before the decoder is freed: one that logs needs the interpreter lock, which would be held meanwhile.
        self._context.flush_buffers()
        self._log.__exit__(*exc)
        self._file.close()

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yield positions and frames, including those of the preroll."""
        preroll = self._reader.header.preroll
        position = -1
        for number, stored in enumerate(self._reader):
            if not stored.data:
                continue
            position = stored.position
            if number >= preroll and self._settled_at is None and position != UNPLACED:
                self._settled_at = position
                self._settled_by_key = number > 0 and bool(stored.flags & KEY)
            self.order.append((position, bool(stored.flags & KEY)))
            yield from self._checked(self._decoder.feed(_to_packet(stored), position, bool(stored.flags & CORRUPT)))
        yield from self._checked(self._decoder.drain(position))

    def _checked(self, frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
        """Note the first frame after the preroll as damaged if it is marked as a key frame but refers to other frames."""
        for position, frame in frames:
            if position == self._settled_at and self._settled_by_key and refers_to_others(frame):
                self.note(position, FALSE_KEY)
            yield position, frame

    def note(self, position: int, reason: str) -> None:
        """Record damage, except in the preroll, where a decoder that starts in the middle of a stream always reports faults.

        Packets of a piece that begin before it have positions below UNPLACED, so that a packet without a frame would come after them.
        """
        self.trouble = True
        if position != UNPLACED and self._settled_at is not None and position >= self._settled_at:
            self.suspect.setdefault(position, reason)


def _sum(frame: VideoFrame) -> int:
    """Return a checksum of a frame's lines without the padding after them."""
    total = 0
    for plane in frame.planes:
        lines = memoryview(plane).cast("B")
        for y in range(plane.height):
            total = zlib.crc32(lines[y * plane.line_size : y * plane.line_size + plane.width], total)
    return total


def _sums(path: Path, threads: int) -> Iterator[tuple[int, int]]:
    """Yield positions and checksums of all frames of a run, decoded while the last HELD frames are kept."""
    kept: deque[VideoFrame] = deque(maxlen=HELD)
    with path.open("rb") as file:
        reader = RunReader(file)
        decoder = PacketDecoder(
            open_decoder(reader.header, threads), None, lambda *_: None
        )  # the first decoder records damage
        position = -1
        for stored in chain(reader, (None,)):
            if stored is not None and not stored.data:
                continue
            position = position if stored is None else stored.position
            for at, frame in decoder.drain(position) if stored is None else decoder.feed(_to_packet(stored), position):
                kept.append(frame)
                yield at, _sum(frame)


def open_decoder(header: RunHeader, threads: int) -> VideoCodecContext:
    """Open a bare decoder with the parameters from the container; raise Unsupported if there is no such decoder."""
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
    if header.encoding.field_order > PROGRESSIVE:  # raw pictures are interlaced where their container says so
        context.field_order = header.encoding.field_order
    context.reorder_depth = header.reorder
    context.copy_opaque = True
    context.thread_count = threads
    context.thread_type = ThreadType.AUTO if threads != 1 else ThreadType.NONE
    return context


def _to_packet(stored: RunPacket) -> Packet[VideoStream]:
    # FFmpeg allocates the packet with padding; Packet(bytes) has none.
    packet = cast("Packet[VideoStream]", Packet(len(stored.data)))
    packet.update(stored.data)
    packet.is_keyframe = bool(stored.flags & MARKED)  # without the mark some decoders refer to the previous picture
    for kind, data in stored.side:
        number = packet_sidedata_type_from_literal(kind)  # type: ignore[arg-type]  # checked by the lookup
        side = PacketSideData(number, len(data))  # type: ignore[call-arg]  # PyAV's stubs leave the constructor out
        side.update(data)
        packet.set_sidedata(side, move=True)
    return packet
