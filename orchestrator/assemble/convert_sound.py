"""Sound that a result's container cannot hold, decoded and encoded again without loss."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av.error
from av.audio.fifo import AudioFifo
from av.audio.resampler import AudioResampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.stream import Stream

BLOCK = 4096
"""Samples of a packet where the encoder leaves it open."""


class SoundConverter:
    """Converts one stream packet by packet; call `flush` after the last one. `failed` counts what could not be decoded."""

    def __init__(self, source: AudioStream, target: AudioStream) -> None:
        self._decoder = source.codec_context
        self._target = target
        self._rate = source.codec_context.sample_rate
        context = target.codec_context
        context.layout = source.codec_context.layout
        if "24" in context.name or (context.name == "flac" and source.codec_context.format.name not in ("s16", "s16p")):
            context.format = "s32"
        context.time_base = Fraction(1, self._rate)
        context.open(strict=False)
        self._resampler = AudioResampler(format=context.format, layout=context.layout, rate=self._rate)
        self._fifo = AudioFifo()
        self._size = context.frame_size or BLOCK
        self._next: int | None = None
        self.failed = 0

    def convert(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        """Yield the packets that `packet` completes."""
        start = None if packet.pts is None else round(packet.pts * packet.time_base * self._rate)
        try:
            frames = self._decoder.decode(cast("Packet[AudioStream]", packet))
        except av.error.FFmpegError:
            self.failed += 1
            frames = []
        yield from self._taken(frames, start)

    def flush(self) -> Iterator[Packet[Stream]]:
        """Yield the rest."""
        try:
            frames = self._decoder.decode(None)
        except av.error.FFmpegError:
            frames = []
        yield from self._taken(frames, None)
        for frame in self._resampler.resample(None):
            self._fifo.write(self._untimed(frame))
        yield from self._encoded(whole=False)
        yield from self._usable(self._target.encode(None))

    def _taken(self, frames: list[AudioFrame], start: int | None) -> Iterator[Packet[Stream]]:
        for frame in frames:
            if self._next is None:
                self._next = start or 0
            for piece in self._resampler.resample(self._untimed(frame)):
                self._fifo.write(self._untimed(piece))
        yield from self._encoded(whole=True)

    @staticmethod
    def _untimed(frame: AudioFrame) -> AudioFrame:
        frame.pts = None
        return frame

    def _encoded(self, whole: bool) -> Iterator[Packet[Stream]]:
        while self._fifo.samples >= self._size or (not whole and self._fifo.samples):
            frame = self._fifo.read(self._size, partial=not whole)
            if frame is None:
                return
            assert self._next is not None
            frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
            self._next += frame.samples
            yield from self._usable(self._target.encode(frame))

    @staticmethod
    def _usable(packets: list[Packet[AudioStream]]) -> Iterator[Packet[Stream]]:
        for packet in packets:
            if packet.size:  # FLAC ends with an empty one that carries new headers
                yield cast("Packet[Stream]", packet)
