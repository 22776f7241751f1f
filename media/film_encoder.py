"""The encoder of a film's chunks, as a stream of an open container."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from media import codecs

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from contract.film import Encoding


def add_encoder(container: OutputContainer, encoding: Encoding, threads: int = 0) -> VideoStream:
    """Add a stream to `container` with the encoder, options and colour tags of `encoding`; `threads` are as of `media.codecs`."""
    rate = Fraction(*encoding.rate)
    options = dict(encoding.options)
    if encoding.colour.chroma_location:
        options["chroma_sample_location"] = str(encoding.colour.chroma_location)
    stream: VideoStream = container.add_stream(encoding.encoder, rate=rate, options=options)  # type: ignore[assignment]
    context = stream.codec_context
    context.width, context.height = encoding.width, encoding.height
    context.pix_fmt = codecs.coded_format(encoding.codec, encoding.pix_fmt)
    context.time_base = 1 / rate
    if encoding.sar[0] and encoding.sar[1]:
        context.sample_aspect_ratio = Fraction(*encoding.sar)
    context.field_order = encoding.field_order
    colour = encoding.colour
    context.color_range = colour.range
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    context.colorspace = colour.space
    codecs.open_encoder(context, threads)
    return stream
