"""Materials that were once restored or reported wrongly."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import av

from testkit.materials.recipe import H264, STEREO, Material, film, jpeg, x264
from testkit.materials.write import Film, Sound, remux, text_stream, write

WRAP = 1 << 33
"""Ticks of 1/90000 s after which the clock of a transport stream begins anew."""
MPEG2 = Film("mpeg", "mpeg2video", {"g": "12", "bf": "2", "b": "3M"}, sounds=(Sound("mp2"),))
TOGETHER = """1
00:00:00,200 --> 00:00:00,900
Two that begin

2
00:00:00,200 --> 00:00:01,500
at the same time
"""


def png() -> bytes:
    """Make a small PNG still with transparency."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "rgba", Fraction(1, 25)
    image = av.VideoFrame(32, 32, "rgba")
    image.pts = 0
    return bytes((encoder.encode(image) + encoder.encode(None))[0])


def attached() -> bytes:
    """Make a film with attachments: a font, a file with an odd name, and covers of two kinds."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:  # noqa: ARG001 - Film.dress
        container.add_attachment("a b.ttf", "application/x-truetype-font", b"\0\1\0\0" + bytes(200))
        container.add_attachment("../../note.txt", "text/plain", b"kept")
        container.add_attachment("cover.png", "image/png", png())
        container.add_attachment("small.jpg", "image/jpeg", jpeg())

    return write(replace(H264, format="matroska", dress=dress))


def wrapping(base: Film) -> bytes:
    """Make a recording whose clock wraps in the middle."""
    ticks = int(base.rate.denominator * 90000 / base.rate.numerator)
    start = WRAP // ticks - 25
    sounds = tuple(replace(s, start=start * ticks / 90000) for s in base.sounds)
    return write(replace(base, frames=60, times=range(start, start + 60), time_base=1 / base.rate, sounds=sounds))


def untimed_twice() -> bytes:
    """Make a film in which two frames carry the time of the one before; the clock then continues normally."""
    data = write(Film("matroska", "mjpeg", pix_fmt="yuvj420p", sounds=STEREO))
    sink = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(sink, "w", format="matroska") as container:
        streams = {s.index: container.add_stream_from_template(s, opaque=True) for s in source.streams}
        number = 0
        for packet in source.demux():
            if not packet.size:
                continue
            if packet.stream_index == 0:
                number += 1
                if number in (11, 31) and packet.pts is not None:
                    packet.pts = packet.dts = packet.pts - 40
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return sink.getvalue()


def turning() -> bytes:
    """Make a transport stream whose second half has other chroma, another range and another matrix."""
    first = write(replace(H264, format="mpegts", frames=24, colour=(1, 1, 1, 1)))
    return first + write(replace(H264, format="mpegts", frames=24, pix_fmt="yuv444p", colour=(2, 6, 6, 6), seed=2))


GAPS = [
    0,
    40,
    80,
    120,
    10000,
    10040,
    10080,
    10120,
    25000,
    25033,
    25066,
    25100,
    25133,
    25166,
    25200,
    90000,
    90040,
    90080,
]
"""Milliseconds of a film that stands still for a minute."""

FOUND: tuple[Material, ...] = (
    Material("attachments-and-covers", "mkv", attached),
    Material(
        "clock-wraps-ts",
        "ts",
        lambda: wrapping(replace(H264, format="mpegts", sounds=(Sound("mp2"),))),
        expect="joined",
    ),
    Material(
        "clock-wraps-to-mp4",
        "ts",
        lambda: wrapping(replace(H264, format="mpegts", sounds=(Sound("mp2"),))),
        "mp4",
        expect="joined",
    ),
    Material("clock-wraps-mpg", "mpg", lambda: wrapping(MPEG2), expect="joined"),
    Material("times-taken-twice", "mkv", untimed_twice, expect="damaged"),
    Material("chroma-and-range-change", "ts", turning, expect="damaged"),
    Material("pcm-without-names", "avi", film(Film("avi", "mpeg4", {"g": "12"}, sounds=(Sound("pcm_s16le"),))), "mp4"),
    Material(
        "pcm-in-large-packets",
        "mxf",
        film(Film("mxf", "mpeg2video", {"g": "12", "bf": "2"}, pix_fmt="yuv422p", sounds=(Sound("pcm_s24le"),))),
        "mkv",
    ),
    Material(
        "sound-without-durations",
        "mkv",
        film(format="matroska", sounds=(Sound("alac"), Sound("alac", tone=300))),
        "mp4",
    ),
    Material("flac-that-ends-empty", "nut", film(Film("nut", "libx264", x264(), sounds=(Sound("flac"),)))),
    Material(
        "subtitles-that-begin-together", "mkv", film(format="matroska", extra=(text_stream(TOGETHER, "srt", "eng"),))
    ),
    Material("bottom-field-first", "mp4", film(options=x264(bff=1), interlaced="bff", size=(96, 96)), "mp4"),
    Material("pixels-almost-square", "mkv", film(format="matroska", sar=Fraction(1000, 1001))),
    Material("stands-still-for-a-minute", "mp4", film(frames=18, times=GAPS, time_base=Fraction(1, 1000)), "mp4"),
    Material("mp3-in-avi-to-ts", "avi", film(Film("avi", "mpeg4", {"g": "12"}, sounds=(Sound("libmp3lame"),))), "ts"),
    Material(
        "empty-edit-before-the-sound",
        "mov",
        lambda: remux(write(replace(H264, format="mov", sounds=STEREO)), "mov", shift={1: 0.37}),
        "mov",
    ),
)
