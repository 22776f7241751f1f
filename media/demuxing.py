"""Demuxing: packets of the wanted streams, and FFmpeg's own description of a container."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av.error
import av.logging
from av.stream import Discard

from media.opening import reason

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

PRIMING = Fraction(3, 20)
"""Seconds that sound may begin before 0: an encoder's priming (128 ms of AAC at 8 kHz, 80 of Opus), which is not audible."""
PATIENCE = 10_000
"""Consecutive reports of a demuxer that it has found nothing yet, after which reading ends."""


def holds_early(container: str, start: Fraction, packets: int) -> bool:
    """Return True when a result in `container` can keep sound of so many packets that begins at `start`, in seconds, before 0.

    Transport streams have no times before 0. Readers of Matroska and WebM reckon the time of a packet before 0 from the packet after it,
    so that one alone has none (matroska_parse_block of FFmpeg 8).
    """
    return container != "mpegts" and -PRIMING <= start < 0 and (packets > 1 or container not in ("matroska", "webm"))


def only(container: InputContainer, wanted: set[int]) -> None:
    """Let the demuxer skip all streams but `wanted`."""
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all


def demux(container: InputContainer, streams: set[int], broken: list[str]) -> Iterator[Packet[Stream]]:
    """Yield the packets of `streams` to the end; where the file breaks off, append the reason to `broken`."""
    only(container, streams)
    if not streams:
        return  # PyAV would take no streams for all streams
    packets = container.demux([container.streams[i] for i in sorted(streams)])
    again = 0
    while True:
        try:
            packet = next(packets, None)
        except av.error.BlockingIOError as error:  # a stretch that holds nothing of these streams
            again += 1
            if again > PATIENCE:
                broken.append(reason(error))
                return
            continue
        except av.error.FFmpegError as error:
            broken.append(reason(error))
            return
        if packet is None:
            return
        again = 0
        if packet.size or packet.pts is not None or packet.dts is not None:  # not PyAV's marks of the end
            yield packet


def hidden_sound(packet: Packet[Stream]) -> bool:
    """Report whether an edit list hides a packet of sound, which is not part of a decoder's run-in either."""
    if not packet.is_discard or packet.pts is None or packet.stream.type != "audio":
        return False
    begins, ends = packet.pts * packet.time_base, (packet.pts + (packet.duration or 0)) * packet.time_base
    context = packet.stream.codec_context
    plain = context is not None and context.name.startswith(("pcm_", "flac"))  # without a run-in
    return bool(ends <= 0) if plain else bool(begins < -PRIMING)


def end_padding(packet: Packet[Stream]) -> int:
    """Return how many samples at the end of a packet of sound are not to be heard."""
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[4:8], "little")


def header_dump(container: InputContainer) -> str:
    """Return FFmpeg's own description of the container, which has what PyAV's attributes lack."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    try:
        return str(container.dumps_format())  # type: ignore[attr-defined]  # PyAV's stubs leave it out
    finally:
        av.logging.set_level(before)


def codec_in(dump: str, stream: Stream) -> str:
    """Return FFmpeg's name for a stream without a decoder in its own description `dump`; "" when it has none."""
    named = re.search(rf"Stream #0:{stream.index}\b[^\n]*?: \w+: (?:none \()?(\w+)", dump)
    return named.group(1) if named else ""


def film_description(container: InputContainer, film: VideoStream) -> str:
    """Return FFmpeg's own description of the film's stream, side data included."""
    part = re.search(
        rf"Stream #0:{film.index}\b.*?(?=\n  Stream #|\n  Program |\n  Chapter|\Z)", header_dump(container), re.S
    )
    return part.group(0) if part else ""
