"""The stages of a film's batches around the network: frames to its inputs, enhancement, results to the encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from workers.film.field_flags import FieldFlags

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.packets import RunHeader
    from workers.checkpoint import Checkpoint
    from workers.faces.enhance import FaceRestorer
    from workers.film.cuda_streams import Sent
    from workers.film.encode import ChunkEncoder
    from workers.film.frame_marks import Clock
    from workers.film.time_filters import FrameFilter
    from workers.generators.enhancer import Enhancer


class NetworkStages:
    """The stages of a batch around the network; each runs in a thread of its own."""

    def __init__(
        self,
        header: RunHeader,
        enhancer: Enhancer,
        faces: FaceRestorer | None,
        clock: Clock,
        filters: list[FrameFilter],
    ) -> None:
        self._header = header
        self._filters = filters
        self.enhancer = enhancer
        self.faces = faces
        self._clock = clock
        from workers.film.conversion import Conversion
        from workers.film.transparency import AlphaKeeper

        self._conversion = Conversion(header, enhancer, rgb=faces is not None)
        self._alpha = AlphaKeeper(header.encoding.pix_fmt)
        self._fields = FieldFlags(header.encoding.field_order)

    def inputs(self, batches: Iterator[list[tuple[int, VideoFrame]]]) -> Iterator[tuple[list[int], Sent]]:
        """Convert frames to the network's inputs: ordinals, and N x 3 x H x W on the device."""
        import torch

        from workers.film.cuda_streams import own_stream, send

        with own_stream(self.enhancer.device):
            for batch in batches:
                now = time.perf_counter()
                rgb = torch.cat([self._conversion.to_rgb(frame) for _, frame in batch])
                self._clock.spend("to_rgb", now)
                for ordinal, frame in batch:
                    self._alpha.take(ordinal, frame)
                    self._fields.take(ordinal, frame)
                yield [ordinal for ordinal, _ in batch], send(rgb)

    def enhanced(self, inputs: Sent) -> Sent:
        """Enlarge a batch to the size of the encoding, and restore its faces."""
        from workers.film.cuda_streams import receive, send

        now = time.perf_counter()
        rgb = receive(inputs)
        larger = self._conversion.enhance(rgb)
        now = self._clock.spend("network", now)
        if self.faces is not None:
            larger = self.faces.apply(rgb, larger)
            self._clock.spend("faces", now)
        return send(larger)

    def converted(self, put: Callable[[tuple[int, VideoFrame]], None]) -> Callable[[tuple[list[int], Sent]], None]:
        """Return the function that converts batches of results to frames, and gives these to `put` with their ordinals."""
        from workers.film.cuda_streams import own_stream, receive

        stream = own_stream(self.enhancer.device)

        def convert(batch: tuple[list[int], Sent]) -> None:
            ordinals, results = batch
            with stream:
                larger = receive(results)
                for i, ordinal in enumerate(ordinals):
                    now = time.perf_counter()
                    frame = self._conversion.to_frame(larger[i : i + 1])
                    frame = put_back(self._filters, self._header.first + ordinal, frame)
                    frame = self._fields.put(ordinal, self._alpha.put(ordinal, frame))
                    self._clock.spend("from_rgb", now)
                    put((ordinal, frame))

        return convert

    def encoded(self, encoder: ChunkEncoder, checkpoint: Checkpoint) -> Callable[[tuple[int, VideoFrame]], None]:
        """Return the function that encodes frames; it may be behind the networks, and calls `checkpoint` itself."""

        def encode(made: tuple[int, VideoFrame]) -> None:
            checkpoint(encoder.frames)
            now = time.perf_counter()
            encoder.write(*made)
            self._clock.spend("encode", now)

        return encode


def put_back(filters: list[FrameFilter], position: int, frame: VideoFrame) -> VideoFrame:
    """Return an enhanced frame with what the filters took off it before."""
    for one in reversed(filters):
        frame = one.put_back(position, frame)
    return frame
