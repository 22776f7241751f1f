"""Writer of test films through PyAV: one call per film."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from media import codecs
from testkit.materials.draw import frame


@dataclass
class Sound:
    """One audio track: `start` in seconds, `length` in seconds (0: as long as the film)."""

    codec: str = "aac"
    rate: int = 48000
    start: float = 0.0
    length: float = 0.0
    language: str = ""
    tone: float = 440.0
    layout: str = "stereo"


@dataclass
class Film:
    """A recipe. `times` are presentation times of the frames in `time_base` (default: 0, 1, 2, ... in 1/rate)."""

    format: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    frames: int = 48
    size: tuple[int, int] = (96, 64)
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(25)
    times: Sequence[int] | None = None
    time_base: Fraction | None = None
    interlaced: str = ""
    sounds: tuple[Sound, ...] = ()
    muxer: dict[str, str] = field(default_factory=dict)
    colour: tuple[int, int, int, int] | None = None
    """range, primaries, transfer, space"""
    sar: Fraction | None = None
    rotation: float | None = None
    dress: Callable[[av.container.OutputContainer, av.VideoStream], None] | None = None
    patch: Callable[[bytes], bytes] | None = None
    """Applied to every encoded packet's bytes."""
    picture: Callable[[int, int, int, str, int], av.VideoFrame] | None = None
    """Draws frame number i of (width, height, i, pix_fmt, seed) instead of the usual."""
    seed: int = 1
    extra: tuple[Callable[[av.container.OutputContainer], Iterable[av.Packet[Any]]], ...] = ()
    """More streams: each adds itself and returns its packets."""


def write(film: Film) -> bytes:
    """Encode and mux the film; return the file's bytes."""
    with tempfile.TemporaryDirectory() as folder:  # some muxers read what they have written
        path = Path(folder) / "film"
        _write(film, path)
        return path.read_bytes()


def _write(film: Film, path: Path) -> None:
    with av.open(
        str(path), "w", format=film.format, container_options={"fflags": "+bitexact", **film.muxer}
    ) as container:
        stream = cast("av.VideoStream", container.add_stream(film.codec, rate=film.rate, options=dict(film.options)))
        context = stream.codec_context
        context.width, context.height = film.size
        context.pix_fmt = film.pix_fmt
        context.thread_count = 1
        base = film.time_base or 1 / film.rate
        context.time_base = base
        if film.colour:
            context.color_range, context.color_primaries, context.color_trc, context.colorspace = film.colour
        if film.sar:
            context.sample_aspect_ratio = film.sar
        if film.rotation is not None:
            stream.set_display_rotation(film.rotation)
        tracks = [(_sound_stream(container, s), s) for s in film.sounds]
        extras = [list(make(container)) for make in film.extra]
        if film.dress:
            film.dress(container, stream)
        codecs.open_encoder(context)
        packets = [*_video(film, stream, base)]
        length = float(film.frames / film.rate)
        for track, sound in tracks:
            packets += _audio(track, sound, sound.length or length)
        for extra in extras:
            packets += extra
        packets.sort(key=_moment)
        for packet in packets:
            container.mux(packet)


def _moment(packet: av.Packet[Any]) -> float:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return -1e9 if ticks is None else float(ticks * packet.time_base)


def _video(film: Film, stream: av.VideoStream, base: Fraction) -> Iterable[av.Packet[Any]]:
    graph = None
    if film.interlaced:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=film.size[0], height=film.size[1], format=av.VideoFormat(film.pix_fmt), time_base=base
        )
        field_mode = graph.add("setparams", f"field_mode={film.interlaced}")
        sink = graph.add("buffersink")
        source.link_to(field_mode)
        field_mode.link_to(sink)
        graph.configure()
    for i in range(film.frames):
        if film.picture:
            picture = film.picture(*film.size, i, film.pix_fmt, film.seed)
        else:
            picture = frame(*film.size, i, film.pix_fmt, film.seed, film.interlaced)
        picture.pts = i if film.times is None else film.times[i]
        picture.time_base = base
        if graph is not None:
            graph.vpush(picture)
            picture = graph.vpull()
        yield from _patched(film, stream.encode(picture))
    yield from _patched(film, stream.encode(None))


def _patched(film: Film, packets: list[av.Packet[Any]]) -> Iterable[av.Packet[Any]]:
    for packet in packets:
        if film.patch is not None:
            data = film.patch(bytes(packet))
            new = av.Packet(len(data))
            new.update(data)
            new.pts, new.dts, new.time_base, new.duration = packet.pts, packet.dts, packet.time_base, packet.duration
            new.is_keyframe = packet.is_keyframe
            new.stream = packet.stream
            packet = new
        yield packet


def _sound_stream(container: av.container.OutputContainer, sound: Sound) -> av.AudioStream:
    stream = cast("av.AudioStream", container.add_stream(sound.codec, rate=sound.rate))
    stream.codec_context.layout = sound.layout
    if sound.codec.startswith("wma"):
        stream.codec_context.bit_rate = 128_000  # its encoder has no default
    if sound.language:
        stream.metadata["language"] = sound.language
    return stream


def _audio(stream: av.AudioStream, sound: Sound, length: float) -> Iterable[av.Packet[Any]]:
    context = stream.codec_context
    context.open(strict=False)
    size = context.frame_size or 1024
    form = context.format.name
    total = int(length * sound.rate)
    rng = np.random.default_rng(5)
    for at in range(0, total, size):
        n = np.arange(at, min(at + size, total))
        wave = 0.3 * np.sin(2 * np.pi * sound.tone * n / sound.rate) + 0.01 * rng.standard_normal(len(n))
        channels = len(av.AudioLayout(sound.layout).channels)
        block = np.stack([wave / (1 + c) for c in range(channels)]).astype(np.float32)
        made = av.AudioFrame.from_ndarray(block, format="fltp", layout=sound.layout)
        made.sample_rate = sound.rate
        resampler = av.AudioResampler(format=form, layout=sound.layout, rate=sound.rate)
        for piece in resampler.resample(made):
            piece.pts = at + round(sound.start * sound.rate)
            piece.time_base = Fraction(1, sound.rate)
            yield from stream.encode(piece)
    yield from stream.encode(None)


def remux(
    data: bytes, target: str, muxer: dict[str, str] | None = None, shift: dict[int, float] | None = None
) -> bytes:
    """Put the same packets into another container; `shift` delays streams by seconds."""
    sink = io.BytesIO()
    with (
        av.open(io.BytesIO(data), "r") as source,
        av.open(sink, "w", format=target, container_options=dict(muxer or {})) as container,
    ):
        streams = {s.index: container.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if packet.size == 0:
                continue
            delay = (shift or {}).get(packet.stream_index, 0.0)
            if delay:
                ticks = round(delay / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return sink.getvalue()


def text_stream(
    text: str, form: str, language: str = ""
) -> Callable[[av.container.OutputContainer], list[av.Packet[Any]]]:
    """Return a function that adds a subtitle stream from the text of an .srt or .ass file."""

    def add(container: av.container.OutputContainer) -> list[av.Packet[Any]]:
        source = av.open(io.BytesIO(text.encode()), "r", format=form)
        template = source.streams[0]
        stream = container.add_stream_from_template(template, opaque=True)
        if language:
            stream.metadata["language"] = language
        packets = [p for p in source.demux() if p.size]
        for packet in packets:
            packet.stream = stream
        return packets

    return add
