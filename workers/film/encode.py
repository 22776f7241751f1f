"""From frames to an encoded chunk: a file with one stream, whose timestamps are ordinals within the chunk.

A fresh encoder per chunk, closed groups of pictures, global headers: chunks of one film can be joined by stream copy.
An ordinal that is left out marks a frame that the source does not give.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av

from contract.errors import EnhanceError
from contract.film import CHUNK_FORMAT, CHUNK_TICK
from media import codecs

if TYPE_CHECKING:
    from types import TracebackType

    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from contract.film import Encoding

DEEPEST = 64
"""More frames than any encoder decodes ahead of their turn."""


class ChunkEncoder:
    """Encodes frames into `out`. Use as a context manager; after it, `frames` and `reorder` describe what was written.

    `reorder` is the largest distance by which a frame is decoded ahead of its turn (i - ordinal of the i-th packet).
    """

    def __init__(self, out: Path, encoding: Encoding) -> None:
        self._out = out
        self._encoding = encoding
        self._ordinals: list[int] = []
        self._given: list[int] = []
        self.reorder = 0

    def __enter__(self) -> ChunkEncoder:
        # Timestamps are ordinals and must stay so: without this they are shifted until the first decode time is 0.
        self._container: OutputContainer = av.open(
            str(self._out), "w", format=CHUNK_FORMAT, container_options={"avoid_negative_ts": "disabled"}
        )
        self._stream = open_encoder(self._container, self._encoding)
        return self

    def write(self, ordinal: int, frame: VideoFrame) -> None:
        """Encode `frame` as the chunk's frame `ordinal`; ordinals rise.

        Raises EnhanceError when it has not the encoding's size and format: an encoder would rescale it silently.
        """
        encoding = self._encoding
        have = (frame.width, frame.height, frame.format.name)
        if have != (encoding.width, encoding.height, encoding.pix_fmt):
            raise EnhanceError(
                f"a frame of {have[0]}x{have[1]} {have[2]} came to an encoder for {encoding.width}x{encoding.height} "
                f"{encoding.pix_fmt}; report this as a defect."
            )
        frame.pts = ordinal
        frame.dts = None
        frame.time_base = 1 / Fraction(*encoding.rate)
        frame.pict_type = 0  # the source's I, P and B are no wish
        self._given.append(ordinal)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[av.Packet[VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None
            if not self._ordinals and not packet.is_keyframe:
                raise EnhanceError(
                    f"{self._encoding.encoder} began a chunk without a key frame; report this as a defect."
                )
            self._ordinals.append(packet.pts)
            packet.time_base = CHUNK_TICK  # the encoder counted in frames
            # x265 leaves the decode time of a single frame uninitialised; assembly makes its own from the ordinals.
            packet.dts = len(self._ordinals) - DEEPEST
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._container.close()
            return
        if self._given:
            self._mux(self._stream.encode(None))
            if sorted(self._ordinals) != self._given or self._ordinals[0] != self._given[0]:
                raise EnhanceError(
                    f"{self._encoding.encoder} gave {len(self._ordinals)} packets for {len(self._given)} frames, or in "
                    "another order; report this as a defect."
                )
            rank = {ordinal: i for i, ordinal in enumerate(self._given)}
            self.reorder = max(i - rank[ordinal] for i, ordinal in enumerate(self._ordinals))
        self._container.close()
        if not self._given:
            self._out.write_bytes(b"")

    @property
    def frames(self) -> int:
        return len(self._given)


def open_encoder(container: OutputContainer, encoding: Encoding) -> VideoStream:
    """A stream of `container` that encodes as `encoding` says and carries its colour tags."""
    rate = Fraction(*encoding.rate)
    options = dict(encoding.options)
    if encoding.colour.chroma_location:
        options["chroma_sample_location"] = str(encoding.colour.chroma_location)
    stream: VideoStream = container.add_stream(encoding.encoder, rate=rate, options=options)  # type: ignore[assignment]
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = encoding.width, encoding.height, encoding.pix_fmt
    context.time_base = 1 / rate
    if encoding.sar[0] and encoding.sar[1]:
        context.sample_aspect_ratio = Fraction(*encoding.sar)
    context.field_order = encoding.field_order
    colour = encoding.colour
    context.color_range = colour.range
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    context.colorspace = colour.space
    codecs.open_encoder(context)
    return stream
