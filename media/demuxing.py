"""Demuxing: packets of the wanted streams, and FFmpeg's own description of a container."""

from __future__ import annotations

import re
from collections.abc import Iterator
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

PATIENCE = 10_000
"""How often in a row a demuxer may report that it has found nothing yet."""


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


def header_dump(container: InputContainer) -> str:
    """Return FFmpeg's own description of the container, which has what PyAV's attributes lack."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    try:
        return str(container.dumps_format())  # type: ignore[attr-defined]  # PyAV's stubs leave it out
    finally:
        av.logging.set_level(before)


def film_description(container: InputContainer, film: VideoStream) -> str:
    """Return FFmpeg's own description of the film's stream, side data included."""
    part = re.search(
        rf"Stream #0:{film.index}\b.*?(?=\n  Stream #|\n  Program |\n  Chapter|\Z)", header_dump(container), re.S
    )
    return part.group(0) if part else ""
