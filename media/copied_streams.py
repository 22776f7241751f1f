"""Streams of a result whose packets are copied: named and described so that a muxer takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from media.dolby_frames import add_enhanced, kind_of

if TYPE_CHECKING:
    from av.codec.context import CodecContext
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream

    from contract.film import SourceStream

TRIAL_STEP = Fraction(1, 20)
"""Seconds between packets that are written on trial."""


def add_copied(
    container: OutputContainer, known: SourceStream, original: Stream, packets: Sequence[bytes] = ()
) -> Stream:
    """Add a stream for the packets of `original`, by its true codec; some of its `packets` tell that where it differs."""
    frame = next((p for p in packets if kind_of(p) == "eac3"), b"")
    if known.codec == "eac3" and codec_name(original) == "ac3" and frame:
        return add_enhanced(container, original, frame)
    stream = container.add_stream_from_template(original, opaque=True)
    stream.time_base = original.time_base
    return stream


def write_on_trial(container: OutputContainer, stream: Stream, packets: Sequence[bytes]) -> None:
    """Mux `packets` of sound, at times of their own; the muxer may object as late as when `container` is closed."""
    for number, data in enumerate(packets):
        packet: Packet[Stream] = av.Packet(len(data))
        packet.update(data)
        packet.time_base = TRIAL_STEP
        packet.pts = packet.dts = number
        packet.duration = 1
        packet.is_keyframe = True
        packet.stream = stream
        container.mux(packet)


def speakers(stream: Stream) -> int:
    """Count the channels of `stream` if their layout is unnamed; 0 where it is named."""
    layout = getattr(stream.codec_context, "layout", None)
    said = re.fullmatch(r"(\d+) channels", layout.name) if layout is not None else None
    return int(said.group(1)) if said else 0


def name_layout(stream: Stream, container: str) -> None:
    """Name the channel layout of one or two unnamed channels: mono or stereo.

    mp4's muxer fails at the end for PCM without a layout, and AVI, MXF and Matroska do not name one.
    """
    if container == "mp4" and stream.type == "audio" and codec_name(stream).startswith("pcm_"):
        layout = {1: "mono", 2: "stereo"}.get(speakers(stream))
        if layout is not None:
            stream.codec_context.layout = layout  # type: ignore[attr-defined]


def codec_name(stream: Stream) -> str:
    """Return FFmpeg's name for the codec of `stream`."""
    context: CodecContext | None = stream.codec_context  # None where there is no decoder, whatever the stubs say
    if context is not None:
        return context.name
    return (stream.name if stream.type == "data" else None) or str(stream.type)
