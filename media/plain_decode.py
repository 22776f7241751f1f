"""A plain decode of a file from its start to its end, independent of the way that films are cut and restored.

The witnesses of sources and results read with it. It shares nothing with cutting, runs or `media.decoding`: FFmpeg's
demuxer gives packets, the decoder that FFmpeg chooses gives frames, and everything that either complains of is kept.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av.error
from av.audio.frame import AudioFrame
from av.codec.context import Flags2, ThreadType
from av.stream import Disposition
from av.video.frame import VideoFrame

from media.demuxing import hidden_sound
from media.likeness import coarse_picture
from media.opening import DecoderLog, reason
from media.piece import Window

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

DECODED = ("video", "audio")
MOST_COMPLAINTS = 100
"""Complaints of one stream that are kept in words; all are counted."""
PATIENCE = 10_000
"""Consecutive reports of a demuxer that it has found nothing yet, after which reading ends."""
NO_TIME = -(1 << 63)


@dataclass
class StreamReading:
    """One stream as it was read: what it is, what came out of it, and what the decoder complained of."""

    index: int
    kind: str
    codec: str
    coded: str = ""
    """FFmpeg's name of what the stream holds, whichever decoder reads it."""
    base: Fraction = Fraction(0)
    """Seconds of a tick of its times."""
    packets: int = 0
    """Given to the decoder."""
    listed: int = 0
    """Of all that are not empty, where a reading lists everything."""
    payload: int = 0
    """CRC-32 of the packets of a cover, where a reading lists everything."""
    begins: int | None = None
    """The earliest presentation time of its packets."""
    ends: int | None = None
    """The latest end of its packets."""
    frames: int = 0
    samples: int = 0
    """Of sound, per channel, without the trimming that containers ask for."""
    times: array[int] = field(default_factory=lambda: array("q"))
    """Of its frames as they come out of the decoder, NO_TIME for a frame without one."""
    stamps: array[int] = field(default_factory=lambda: array("q"))
    """Presentation times of all packets of a picture, where a reading lists everything."""
    prints: array[int] = field(default_factory=lambda: array("I"))
    looks: bytearray = field(default_factory=bytearray)
    """Coarse pictures of its frames (`media.likeness`), where a reading makes them."""
    sizes: set[tuple[int, int]] = field(default_factory=set)
    complaints: list[tuple[int, str]] = field(default_factory=list)
    """Each with the number of frames that had come out before."""
    complained: int = 0

    def complain(self, words: str) -> None:
        """Note a complaint."""
        self.complained += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append((self.frames, words))

    @property
    def repeated_times(self) -> int:
        """Count frames that are shown at the time of another."""
        timed = [time for time in self.times if time != NO_TIME]
        return len(timed) - len(set(timed))


@dataclass
class FileReading:
    """All streams of a file by index. `broken` is why the demuxer stopped before the end, `whole` is False after a limit."""

    format: str
    streams: dict[int, StreamReading]
    broken: str = ""
    whole: bool = True
    complaints: list[str] = field(default_factory=list)
    """Of the demuxer, in a reading that lists everything."""


@dataclass(frozen=True)
class Look:
    """Tasks of a reading beside counting: `prints` maps streams of pictures to the function that makes fingerprints.

    Only streams in `decoded` are demuxed and decoded, all pictures and sound where it is None. After `limit` frames of
    one stream the reading ends. With `everything`, packets of all streams are counted to the end of the file, and nothing
    is decoded after `limit`; a process may have one such reading at a time. `threads` are those of decoders of pictures;
    with others than 1 only a reading of everything looks at their messages, whichever thread they come from.
    """

    prints: dict[int, Callable[[VideoFrame], int]] = field(default_factory=dict)
    decoded: frozenset[int] | None = None
    limit: int | None = None
    threads: int = 1
    checkpoint: Callable[[], None] = lambda: None
    everything: bool = False
    trimmed: frozenset[int] = frozenset()
    """Streams of sound that lose the samples which the container says are not to be heard."""
    coarse: bool = False
    """Make coarse pictures of all frames."""
    window: Window | None = None
    """Leave out packets of sound and subtitles outside of a piece."""


def read_file(container: InputContainer, look: Look) -> FileReading:
    """Demux and decode `container` from its start. Streams that are not decoded are listed."""
    reading = FileReading(container.format.name, {s.index: _described(s) for s in container.streams})
    wanted = [
        s
        for s in container.streams
        if s.type in DECODED and s.codec_context is not None and (look.decoded is None or s.index in look.decoded)
    ]
    for stream in wanted:
        threads = look.threads if stream.type == "video" else 1
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = ThreadType.NONE if threads == 1 else ThreadType.AUTO
        if stream.type == "audio" and stream.index not in look.trimmed:
            stream.codec_context.flags2 |= Flags2.skip_manual
    decoded = {stream.index for stream in wanted}
    with DecoderLog("", threads=look.everything and look.threads != 1) as log:
        log.awaited = frozenset(("", reading.format, *(s.codec for s in reading.streams.values())))
        packets = _packets(container, wanted, look)
        while (packet := _next(packets, reading)) is not None:
            look.checkpoint()
            if look.window is not None and not look.window.holds(packet):
                continue
            own = reading.streams[packet.stream.index]  # the packet that drains a decoder has no stream_index
            if look.everything:
                _list(packet, own, reading, log)
            if own.index in decoded and reading.whole:
                _decode(packet, own, look, log)
            if look.limit is not None and own.frames >= look.limit and own.kind == "video":
                reading.whole = False
                if not look.everything:
                    break
    return reading


def _packets(container: InputContainer, wanted: list[Stream], look: Look) -> Iterator[Packet[Stream]]:
    if look.everything:
        return container.demux()
    return container.demux(wanted) if wanted else iter(())


def _list(packet: Packet[Stream], own: StreamReading, reading: FileReading, log: DecoderLog) -> None:
    """Count a packet and its time, and keep the demuxer's complaints up to it."""
    heard = [*log.take_of(reading.format), *log.take_of("")]
    reading.complaints += heard[: MOST_COMPLAINTS - len(reading.complaints)]
    if packet.pts is None and packet.dts is None and not packet.size:
        return  # the end
    own.listed += packet.size > 0
    if own.kind == "cover":
        own.payload = zlib.crc32(packet, own.payload)
    if own.kind == "video":
        own.stamps.append(NO_TIME if packet.pts is None else packet.pts)
    if packet.pts is not None:
        end = packet.pts + (packet.duration or 0)
        own.begins = packet.pts if own.begins is None else min(own.begins, packet.pts)
        own.ends = end if own.ends is None else max(own.ends, end)


def _described(stream: Stream) -> StreamReading:
    context = stream.codec_context
    attached = stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)
    return StreamReading(
        stream.index,
        "cover" if attached else stream.type,
        context.name if context else "",
        coded=context.codec.canonical_name if context else "",
        base=Fraction(stream.time_base or 0),
    )


def _next(packets: object, reading: FileReading) -> Packet[Stream] | None:
    """Return the next packet; None at the end, which `reading.broken` explains where it is not the file's."""
    for _ in range(PATIENCE):
        try:
            return next(packets, None)  # type: ignore[call-overload,no-any-return]
        except av.error.BlockingIOError:
            continue
        except av.error.FFmpegError as error:
            reading.broken = reason(error)
            return None
    reading.broken = "nothing more in it can be recognised"
    return None


def _decode(packet: Packet[Stream], own: StreamReading, look: Look, log: DecoderLog) -> None:
    ends = not packet.size and packet.pts is None and packet.dts is None
    if (not packet.size and not ends) or hidden_sound(packet):
        return  # a decoder would take a held frame's empty packet for the end
    own.packets += not ends
    if packet.is_corrupt:
        own.complain("bytes of it are missing in the container")
    try:
        frames = packet.decode()
    except av.error.EOFError:
        frames = []
    except av.error.FFmpegError as error:
        own.complain(f"the decoder refuses its data ({reason(error)})")
        frames = []
    # A decoder with threads may have complained of its stream while another's packet was decoded.
    for message in log.take_of(own.codec) if look.threads == 1 or look.everything else ():
        own.complain(f"the decoder says: {message}")
    for frame in frames:
        if not isinstance(frame, AudioFrame | VideoFrame):
            continue
        if frame.is_corrupt:
            own.complain("the decoder had to guess parts of it")
        own.frames += 1
        own.times.append(NO_TIME if frame.pts is None else frame.pts)
        if isinstance(frame, AudioFrame):
            own.samples += frame.samples
        else:
            own.sizes.add((frame.width, frame.height))
            if own.index in look.prints:
                own.prints.append(look.prints[own.index](frame))
            if look.coarse:
                own.looks += coarse_picture(frame)
