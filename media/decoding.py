"""Decoding with every sign of damage kept: the one decoder and the one definition of damage.

Trial decoding and FFV1 runs in the orchestrator, chunks in the workers, and every check that decodes use `PacketDecoder`.
A frame counts as damaged when one of these holds:

- the container marks its packet as incomplete, or the decoder refuses the packet;
- the decoder logs an error while it works on the packet: many a broken picture is neither refused nor marked;
- the decoder marks the frame as corrupt, or leaves samples of it as they were in a used buffer;
- it is marked as a key frame and refers to others;
- it is decoded from a damaged frame;
- no frame comes out of its packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import av.error
from av.codec.context import ThreadType
from av.video.frame import PictureType

from contract.film import Span
from media.demuxing import demux
from media.opening import DecoderLog, reason

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

INCOMPLETE = "bytes of it are missing in the container"
GUESSED = "the decoder had to guess parts of it"
UNDECODED = "parts of it are not decoded"
FALSE_KEY = "it is marked as a key frame and refers to others"
BUILDS_ON = "builds on a damaged picture"
NO_PICTURE = "no picture comes out of the source's data"

Note = Callable[[int, str], object]
"""Called with the number of a packet and what is wrong with it or with the frame that comes from it."""


def refers_to_others(frame: VideoFrame) -> bool:
    """Return True when the decoder reports that `frame` refers to others: decoding cannot start there."""
    return not frame.key_frame and frame.pict_type in (PictureType.P, PictureType.B)


class PacketNumber:
    """The number of the packet that a frame comes from, as an object of its own: PyAV keeps opaque values by identity."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class PacketDecoder:
    """A decoder that is fed packet by packet, knows the packet of each frame, and notes every sign of damage.

    `context` must have `copy_opaque` set before its first packet. Frames are told apart by the number that travels with
    their packet, never by their timestamps. `log` must be listening; without one, the decoder's messages are not looked at.
    """

    def __init__(self, context: VideoCodecContext, log: DecoderLog | None, note: Note) -> None:
        self._context, self._log, self._note = context, log, note

    def feed(
        self, packet: Packet[VideoStream], number: int, incomplete: bool = False
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames that come out after `packet`, each with the number of its own packet.

        `incomplete` is the container's mark on the packet. Data that the decoder refuses is noted, never raised.
        """
        if incomplete:
            self._note(number, INCOMPLETE)
        packet.opaque = PacketNumber(number)
        yield from self._decode(packet, number)

    def drain(self, number: int) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames that the decoder still holds; `number` is the last packet's."""
        yield from self._decode(None, number)

    def _decode(self, packet: Packet[VideoStream] | None, number: int) -> Iterator[tuple[int, VideoFrame]]:
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.FFmpegError as error:
            self._note(number, f"the decoder refuses its data ({reason(error)})")
            frames = []
        for message in self._log.take() if self._log is not None else ():
            self._note(number, f"the decoder says: {message}")
        for frame in frames:
            origin = frame.opaque
            at = origin.number if isinstance(origin, PacketNumber) else number
            if frame.is_corrupt:
                self._note(at, GUESSED)
            yield at, frame


@dataclass
class SequentialDecoder:
    """A stream decoded from its start with one thread, as the plainest player does.

    Iterate for (packet number, frame) in the decoder's order. `trouble` collects the first sign of damage of each packet
    number, `broken` why the file ends early.
    """

    container: InputContainer
    stream: VideoStream
    limit: int | None = None
    checkpoint: Callable[[], None] = lambda: None
    """Called at each packet."""
    trouble: dict[int, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        context = self.stream.codec_context
        context.thread_count = 1
        context.thread_type = ThreadType.NONE
        context.copy_opaque = True
        number = -1
        with DecoderLog(context.name) as log:
            decoder = PacketDecoder(context, log, self.trouble.setdefault)
            packets = demux(self.container, {self.stream.index}, self.broken)
            for number, packet in enumerate(islice(packets, self.limit)):
                self.checkpoint()
                if packet.size:  # an empty packet would drain the decoder
                    yield from decoder.feed(packet, number, packet.is_corrupt)  # type: ignore[arg-type]
            yield from decoder.drain(number)


def with_dependants(order: Iterable[tuple[int, bool]], damaged: dict[int, str]) -> dict[int, str]:
    """Return `damaged` (position: reason) and the frames that are decoded from a damaged one.

    `order` has the position of each packet and its key mark, in decode order. A key frame ends the damage, except for the
    pictures that lead it and may still refer to what came before.
    """
    reasons: dict[int, str] = {}
    following = False
    since: int | None = None
    for position, key in order:
        if key:
            since, following = (position, following) if following else (None, False)
        elif since is not None and position > since:
            since, following = None, False  # past the pictures that lead the key
        if position in damaged:
            following, since = True, None
        elif following and not key:
            reasons[position] = BUILDS_ON
    return reasons | damaged


def spans(reasons: dict[int, str]) -> list[Span]:
    """Return neighbouring positions with the same reason as one span."""
    found: list[Span] = []
    for position in sorted(reasons):
        last = found[-1] if found else None
        if last and last.first + last.count == position and last.reason == reasons[position]:
            found[-1] = Span(last.first, last.count + 1, last.reason)
        else:
            found.append(Span(position, 1, reasons[position]))
    return found
