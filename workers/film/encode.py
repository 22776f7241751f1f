"""Encoding of frames to a chunk: a file with one stream, whose timestamps are ordinals within the chunk.

Each chunk has a new encoder, closed groups of pictures and global headers, so that chunks of one film can be joined by stream copy.
A missing ordinal marks a frame that the source does not have.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av

from contract.errors import CannotServe, EnhanceError
from contract.film import CHUNK_FORMAT, CHUNK_TICK
from media import codecs, nvenc
from media.film_encoder import add_encoder
from media.opening import reason

if TYPE_CHECKING:
    from types import TracebackType

    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from contract.film import Encoding

DEEPEST = 64
"""Offset of decode times in frames; larger than the reordering of any encoder."""


class ChunkEncoder:
    """An encoder of frames into `out`, used as a context manager; afterwards `frames` and `reorder` describe the file.

    `reorder` is the largest distance by which a frame is decoded before it is displayed (i - ordinal of the i-th packet).
    Raises CannotServe where a card does not open its encoder.
    """

    def __init__(self, out: Path, encoding: Encoding, threads: int = 0) -> None:
        """Encode into `out`; x264 with that many `threads`, 0 for as many as it takes by itself."""
        self._out = out
        self._threads = threads
        self._encoding = encoding
        self._ordinals: list[int] = []
        self._given: list[int] = []
        self.reorder = 0

    def __enter__(self) -> ChunkEncoder:
        # Timestamps are ordinals and must stay unchanged: by default they are shifted until the first decode time is 0.
        self._container: OutputContainer = av.open(
            str(self._out), "w", format=CHUNK_FORMAT, container_options={"avoid_negative_ts": "disabled"}
        )
        try:
            self._stream = add_encoder(self._container, self._encoding, self._threads)
        except av.FFmpegError as error:
            if self._encoding.codec not in nvenc.ENCODERS:
                raise
            self._container.close()
            # It was tried before: other programs have the card's memory now, or as many encoders as its driver allows.
            raise CannotServe(f"{self._encoding.codec} could not be opened ({reason(error)}).") from error
        return self

    def write(self, ordinal: int, frame: VideoFrame) -> None:
        """Encode `frame` as the chunk's frame `ordinal`; ordinals must increase.

        Raises EnhanceError when the frame does not have the encoding's size and format: an encoder would rescale it silently.
        """
        encoding = self._encoding
        have = (frame.width, frame.height, frame.format.name)
        if have != (encoding.width, encoding.height, encoding.pix_fmt):
            raise EnhanceError(
                f"a frame of {have[0]}x{have[1]} {have[2]} does not fit the encoder for {encoding.width}x{encoding.height} "
                f"{encoding.pix_fmt}; report this as a bug."
            )
        frame = codecs.same_samples(frame, codecs.coded_format(encoding.codec, encoding.pix_fmt))
        frame.pts = ordinal
        frame.dts = None
        frame.time_base = 1 / Fraction(*encoding.rate)
        frame.pict_type = 0  # else the encoder would take the source's picture types as a request
        self._given.append(ordinal)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[av.Packet[VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None
            if not self._ordinals and not packet.is_keyframe:
                raise EnhanceError(f"{self._encoding.encoder} began a chunk without a key frame; report this as a bug.")
            self._ordinals.append(packet.pts)
            packet.time_base = CHUNK_TICK  # the encoder's timestamps count frames
            # x265 leaves the decode time of a single frame uninitialised; assembly computes its own from the ordinals.
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
                    f"{self._encoding.encoder} returned {len(self._ordinals)} packets for {len(self._given)} frames, or in "
                    "another order; report this as a bug."
                )
            rank = {ordinal: i for i, ordinal in enumerate(self._given)}
            self.reorder = max(i - rank[ordinal] for i, ordinal in enumerate(self._ordinals))
        self._container.close()
        if not self._given:
            self._out.write_bytes(b"")

    @property
    def frames(self) -> int:
        """The number of frames written."""
        return len(self._given)
