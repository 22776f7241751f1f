"""The stages of a film's batches around the network: frames to its inputs, enhancement, results to the encoder."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.film.field_flags import FieldFlags

if TYPE_CHECKING:
    import torch
    from av.video.frame import VideoFrame

    from contract.packets import RunHeader
    from workers.card.streams import Sent
    from workers.checkpoint import Checkpoint
    from workers.faces.enhance import FaceRestorer
    from workers.film.encode import ChunkEncoder
    from workers.film.frame_marks import Clock
    from workers.film.frame_pool import FramePool
    from workers.film.time_filters import FrameFilter
    from workers.generators.enhancer import Enhancer
    from workers.generators.finishing import Begun


@dataclass(frozen=True)
class Inputs:
    """A batch of the network's inputs, N x 3 x H x W on the device, and which of them repeat the frame before them."""

    rgb: Sent
    repeats: list[bool]


@dataclass(frozen=True)
class Result:
    """The `frame` to encode as `ordinal`, and the one `made` from the network's result, which it may be."""

    ordinal: int
    frame: VideoFrame
    made: VideoFrame


@dataclass(frozen=True)
class _Begun:
    """A batch that the device may still work on."""

    ordinals: list[int]
    rgb: torch.Tensor
    work: Begun | None


class NetworkStages:
    """The stages of a batch around the network; each runs in a thread of its own."""

    def __init__(
        self,
        header: RunHeader,
        enhancer: Enhancer,
        faces: FaceRestorer | None,
        clock: Clock,
        filters: list[FrameFilter],
        frames: FramePool,
    ) -> None:
        self._header = header
        self._filters = filters
        self.enhancer = enhancer
        self.faces = faces
        self._clock = clock
        from workers.film.conversion import Conversion
        from workers.film.transparency import AlphaKeeper

        self._conversion = Conversion(header, enhancer, faces is not None, frames)
        self._alpha = AlphaKeeper(header.encoding.pix_fmt)
        self._fields = FieldFlags(header.encoding.field_order)

    def inputs(self, batches: Iterator[list[tuple[int, VideoFrame]]]) -> Iterator[tuple[list[int], Inputs]]:
        """Convert frames to the network's inputs, with their ordinals."""
        import torch

        from workers.card.streams import own_stream, send

        with own_stream(self.enhancer.device):
            for batch in batches:
                now = time.perf_counter()
                rgb = torch.cat([self._conversion.to_rgb(frame) for _, frame in batch])
                inputs = Inputs(send(rgb), self._conversion.repeats(rgb))
                self._clock.spend("to_rgb", now)
                for ordinal, frame in batch:
                    self._alpha.take(ordinal, frame)
                    self._fields.take(ordinal, frame)
                yield [ordinal for ordinal, _ in batch], inputs

    def enhanced(
        self, batches: Iterator[tuple[list[int], Inputs]], checkpoint: Callable[[], None]
    ) -> Iterator[tuple[list[int], list[Sent]]]:
        """Enlarge batches to the size of the encoding, and restore their faces; yield each with a result for each of its frames.

        `checkpoint` is called before each batch. On a card a batch may be yielded after the next one has begun.
        """
        from workers.card.streams import receive

        waiting = deque[_Begun]()
        for ordinals, inputs in batches:
            checkpoint()
            now = time.perf_counter()
            rgb = receive(inputs.rgb)
            waiting.append(_Begun(ordinals, rgb, self._conversion.begin(rgb, inputs.repeats)))
            self._clock.spend("network", now)
            if len(waiting) > self._conversion.late:
                yield self._ended(waiting.popleft())
        for begun in waiting:
            yield self._ended(begun)

    def _ended(self, begun: _Begun) -> tuple[list[int], list[Sent]]:
        from workers.card.streams import Sent, send

        now = time.perf_counter()
        made = self._conversion.end(begun.work)
        if made is None:
            larger = self._conversion.enlarge(begun.rgb)
            now = self._clock.spend("network", now)
            if self.faces is not None:
                larger = self.faces.apply(begun.rgb, larger)
                self._clock.spend("faces", now)
            ready = send(larger).ready
            made = [Sent(one[None], ready) for one in larger]
        else:
            self._clock.spend("network", now)
        return begun.ordinals, made

    def converted(self, put: Callable[[Result], None]) -> Callable[[tuple[list[int], list[Sent]]], None]:
        """Return the function that converts batches of results to frames, and gives these to `put`."""
        from workers.card.streams import own_stream, receive

        stream = own_stream(self.enhancer.device)

        def convert(batch: tuple[list[int], list[Sent]]) -> None:
            with stream:
                for ordinal, result in zip(*batch, strict=True):
                    now = time.perf_counter()
                    made = self._conversion.to_frame(receive(result))
                    frame = put_back(self._filters, self._header.first + ordinal, made)
                    frame = self._fields.put(ordinal, self._alpha.put(ordinal, frame))
                    self._clock.spend("from_rgb", now)
                    put(Result(ordinal, frame, made))

        return convert

    def encoded(self, encoder: ChunkEncoder, checkpoint: Checkpoint) -> Callable[[Result], None]:
        """Return the function that encodes frames; it may be behind the networks, and calls `checkpoint` itself."""

        def encode(result: Result) -> None:
            checkpoint(encoder.frames)
            now = time.perf_counter()
            encoder.write(result.ordinal, result.frame)
            self._conversion.give_back(result.made)
            self._clock.spend("encode", now)

        return encode


def put_back(filters: list[FrameFilter], position: int, frame: VideoFrame) -> VideoFrame:
    """Return an enhanced frame with what the filters took off it before."""
    for one in reversed(filters):
        frame = one.put_back(position, frame)
    return frame
