"""Decoding a source in sequence with one thread: a short trial where packets are not to be trusted, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import av
import av.error
from av.codec.context import ThreadType
from av.video.frame import PictureType

from media.opening import DecoderLog, reason
from orchestrator.ingest.packets import demux
from orchestrator.ingest.presentation_order import Disorder, Order

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from orchestrator.ingest.chunking import Keys

TRIAL = 48
"""Packets of a trial: several groups of pictures of a broadcast, a fraction of a second of decoding."""
SETTLE = 17
"""Packets at the end of a trial whose frames may still be inside the decoder."""
SOUND_CODECS = frozenset(("h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg1video", "mpeg2video", "ffv1"))
KEYED_CODECS = SOUND_CODECS | {
    "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "wmv1", "wmv2", "flv", "h263", "theora", "png",
}  # fmt: skip
"""Codecs that refer to other frames and whose key packets are marked as such. Others are not cut: demuxers mark every
packet of rpza, Flash Screen Video or H.261 as a key, and Cinepak's stand alone only in part."""
SOUND_FORMATS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "mxf", "nut", "flv", "ivf"))


def leans(frame: VideoFrame) -> bool:
    """Whether the decoder says that `frame` refers to others: decoding cannot start there."""
    return not frame.key_frame and frame.pict_type in (PictureType.P, PictureType.B)


class Tag:
    """The packet that a frame came from, as an object of its own: PyAV keeps opaque values by identity."""

    __slots__ = ("packet",)

    def __init__(self, packet: int) -> None:
        self.packet = packet


@dataclass
class SequentialDecoder:
    """Iterate for (packet id, frame); `trouble` collects what went wrong at which packet id."""

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
            packets = demux(self.container, {self.stream.index}, self.broken)
            for number, packet in enumerate(islice(packets, self.limit)):
                self.checkpoint()
                if not packet.size:
                    continue
                packet.opaque = Tag(number)
                if packet.is_corrupt:
                    self.trouble.setdefault(number, "bytes of it are missing in the container")
                yield from self._feed(packet, number, log)  # type: ignore[arg-type]
            yield from self._feed(None, number, log)

    def _feed(
        self, packet: av.Packet[VideoStream] | None, number: int, log: DecoderLog
    ) -> Iterator[tuple[int, VideoFrame]]:
        try:
            frames = self.stream.codec_context.decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.FFmpegError as error:
            self.trouble.setdefault(number, f"the decoder refuses its data ({reason(error)})")
            frames = []
        for message in log.take():
            self.trouble.setdefault(number, f"the decoder says: {message}")
        for frame in frames:
            tag = frame.opaque
            at = tag.packet if isinstance(tag, Tag) else number
            if frame.is_corrupt:
                self.trouble.setdefault(at, "the decoder had to guess parts of it")
            yield at, frame


def needs_trial(form: str, codec: str, order: Order, first_key: int) -> bool:
    """Whether the packets' word is not enough: containers and codecs that are known to lie about order, and films that
    begin with pictures which refer to something before them."""
    starts_in_the_middle = first_key < 0 or order.positions[first_key] > 0 or first_key > 0
    return form not in SOUND_FORMATS or codec not in SOUND_CODECS or starts_in_the_middle


def check_cuttable(codec: str) -> None:
    """Raise Disorder unless the packets of `codec` (FFmpeg's name) tell where decoding can start."""
    if codec not in KEYED_CODECS and not av.Codec(codec, "r").intra_only:
        raise Disorder(f"packets of {codec} do not tell for certain where decoding can start")


def run_trial(
    container: InputContainer, stream: VideoStream, order: Order, keys: Keys, checkpoint: Callable[[], None]
) -> frozenset[int]:
    """Decode the head of the film and hold it against `order` and `keys`; returns ids of packets at the very start, before or leading
    the first key packet, that give no frame.

    Raises Disorder when frames come in another order than planned, not one for each packet, or when what is marked as a
    key is none.
    """
    first_key = int(keys.ids[0]) if len(keys.ids) else -1
    limit = max(TRIAL, first_key + 1 + TRIAL)
    decoder = SequentialDecoder(container, stream, limit, checkpoint)
    marked = set(keys.ids[keys.ids < limit].tolist())
    given = []
    for packet, frame in decoder:
        given.append(packet)
        if packet in marked and leans(frame):
            raise Disorder("packets are marked as key frames that are none")
    places = [int(order.positions[p]) for p in given]
    if sorted(places) != places or len(set(places)) != len(places):
        raise Disorder("frames come out of the decoder in another order than their timestamps say")
    head = int(order.positions[first_key]) if first_key >= 0 else 0
    seen = set(given)
    ungiven = set()
    for packet in range(min(limit, len(order.positions))):
        place = int(order.positions[packet])
        if place < 0 or packet in seen or (packet and int(order.positions[packet - 1]) == place):
            continue
        if place < head:
            ungiven.add(packet)
        elif packet < limit - SETTLE and packet not in decoder.trouble:
            raise Disorder("packets do not give one frame each")
    return frozenset(ungiven)
