"""List of all materials: name, maker and expected outcome of each.

`expect` is "exact" (frames, times, streams), "joined" (the clock is mended), "damaged" (exact or said), "refused".
"""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from fractions import Fraction
from functools import partial

import av
from av.stream import Disposition

from testkit.materials import damage, field_pictures
from testkit.materials.draw import picture
from testkit.materials.kinds import KINDS
from testkit.materials.recipe import H264, STEREO, Material, film, jpeg, x264, x265
from testkit.materials.regressions import FOUND
from testkit.materials.write import Film, Sound, remux, text_stream, write

SRT = """1
00:00:00,200 --> 00:00:00,900
Hello

2
00:00:01,000 --> 00:00:01,700
<i>World</i>
"""
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.20,0:00:00.90,Default,,0,0,0,,Hello
Dialogue: 0,0:00:01.00,0:00:01.80,Default,,0,0,0,,World
"""


def variable(n: int) -> list[int]:
    """List the frame times of a phone's variable rate in milliseconds: mostly 40 ms apart, some dropped, some late."""
    steps = [40, 40, 80, 33, 47, 40, 120, 40, 21, 59]
    return [0, *itertools.accumulate(steps[i % len(steps)] for i in range(n - 1))]


def rich() -> bytes:
    """Make a film with sound and subtitles in two languages each, chapters, an attachment, dispositions and tags."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        container.metadata.update(title="A rich film", artist="Nobody", comment="äöü €", CUSTOM_TAG="kept")
        stream.metadata.update(language="fre", title="The picture")
        second = Fraction(1, 1000)
        container.set_chapters(
            [
                {"id": 1, "start": 0, "end": 900, "time_base": second, "metadata": {"title": "One"}},
                {"id": 2, "start": 900, "end": 1920, "time_base": second, "metadata": {"title": "Two"}},
            ]
        )
        container.add_attachment("font.ttf", "application/x-truetype-font", b"\0\1\0\0" + bytes(range(256)) * 8)
        audio = [s for s in container.streams if s.type == "audio"]
        audio[0].disposition = Disposition(1)
        audio[1].disposition = Disposition(1 << 3 | 1 << 7)
        audio[1].metadata["title"] = "Commentary"

    return write(
        Film(
            "matroska",
            "libx264",
            x264(),
            sounds=(Sound("aac", language="eng"), Sound("flac", language="ger", tone=220)),
            dress=dress,
            extra=(text_stream(SRT, "srt", "eng"), text_stream(ASS, "ass", "fre")),
        )
    )


def cover(form: str) -> bytes:
    """Make a film whose first stream (mp4) or attachment (Matroska) is its cover."""
    still = jpeg()
    if form == "matroska":
        attach = lambda container, stream: container.add_attachment("cover.jpg", "image/jpeg", still)  # noqa: E731, ARG005
        return write(replace(H264, format=form, sounds=STEREO, dress=attach))
    plain = write(replace(H264, sounds=STEREO))
    sink = io.BytesIO()
    with (
        av.open(io.BytesIO(plain), "r") as source,
        av.open(io.BytesIO(still), "r", format="mjpeg") as picture_source,
        av.open(sink, "w", format=form) as container,
    ):
        first = container.add_stream_from_template(picture_source.streams.video[0], opaque=True)
        first.disposition = Disposition(1 << 10)
        streams = {s.index: container.add_stream_from_template(s, opaque=True) for s in source.streams}
        packet = av.Packet(len(still))
        packet.update(still)
        packet.stream, packet.pts, packet.dts, packet.time_base = first, 0, 0, Fraction(1, 25)
        packet.is_keyframe = True
        container.mux(packet)
        for p in source.demux():
            if p.size:
                p.stream = streams[p.stream_index]
                container.mux(p)
    return sink.getvalue()


def telecined(hard: bool) -> bytes:
    """Make a film of 24 frames/s shown as 30, by repeat flags (soft) or by woven frames (hard)."""
    base = Film(
        "mpeg", "mpeg2video", {"g": "12", "bf": "2", "b": "3M"}, size=(160, 96), frames=60, sounds=(Sound("mp2"),)
    )
    if not hard:
        counter = itertools.count()
        return write(replace(base, rate=Fraction(24000, 1001), patch=lambda data: _pulldown(data, next(counter))))
    return write(replace(base, rate=Fraction(30000, 1001), picture=_woven))


def _woven(width: int, height: int, i: int, pix_fmt: str, seed: int) -> av.VideoFrame:
    first, second = [(0, 0), (1, 1), (1, 2), (2, 3), (3, 3)][i % 5]
    whole = picture(width, height, (i // 5 * 4 + first) * 1.25, seed)
    whole[1::2] = picture(width, height, (i // 5 * 4 + second) * 1.25, seed)[1::2]
    return av.VideoFrame.from_ndarray(whole, format="rgb48le").reformat(format=pix_fmt)


def _pulldown(data: bytes, n: int) -> bytes:
    """Set the flags of a 3:2 pulldown in packet `n`.

    progressive_sequence is cleared, because it forbids repeated fields. In the picture coding extension every other
    picture repeats a field, and the field order alternates (ITU-T H.262 6.2.2.3, 6.2.3.1, 6.3.10).
    """
    patched = bytearray(data)
    at = data.find(b"\0\0\1\xb5")
    while at >= 0:
        kind = data[at + 4] >> 4
        if kind == 1:
            patched[at + 5] &= ~0x08
        elif kind == 8:
            top_first, repeated = n % 4 in (0, 1), n % 4 in (0, 2)
            patched[at + 7] = patched[at + 7] & ~0x82 | top_first << 7 | repeated << 1
        at = data.find(b"\0\0\1\xb5", at + 4)
    return bytes(patched)


def resized() -> bytes:
    """Make a transport stream whose second half has another size."""
    first = write(replace(H264, format="mpegts", frames=24))
    second = write(
        replace(H264, format="mpegts", frames=24, size=(128, 96), times=range(24, 48), time_base=Fraction(1, 25))
    )
    return first + second


def jumping() -> bytes:
    """Make a transport stream of two recordings: the clock restarts in the middle."""
    part = replace(H264, format="mpegts", frames=24, sounds=(Sound("mp2"),))
    return write(part) + write(replace(part, seed=2))


def spliced() -> bytes:
    """Make a program stream of two recordings, whose sound lags behind the picture in the file."""
    part = Film("mpeg", "mpeg2video", {"g": "12", "bf": "2", "b": "3M"}, frames=24, sounds=(Sound("mp2"),))
    return write(part) + write(replace(part, seed=2))


def _damaged(what: str, suffix: str) -> bytes:
    return damage.APPLY[what](_sound_film(suffix), 7)


MATERIALS: tuple[Material, ...] = (
    Material("h264-closed-gop", "mp4", film(sounds=STEREO)),
    Material("h264-closed-gop-to-mov", "mp4", film(sounds=STEREO), "mov"),
    Material("h264-open-gop", "mkv", film(format="matroska", options=x264(**{"open-gop": 1}))),
    Material("h264-open-gop-ts", "ts", film(format="mpegts", options=x264(**{"open-gop": 1}), sounds=(Sound("mp2"),))),
    Material("h264-intra-refresh", "mp4", film(options=x264(**{"intra-refresh": 1}))),
    Material("h264-one-endless-gop", "mp4", film(options=x264(10000))),
    Material(
        "h264-mbaff", "ts", film(format="mpegts", options=x264(interlaced=1, tff=1), interlaced="tff", size=(96, 96))
    ),
    Material("h264-field-pictures", "ts", field_pictures.make),
    Material("h264-b-frames-in-avi", "avi", film(format="avi", options=x264(), sounds=(Sound("mp2"),))),
    Material("h264-raw", "h264", film(format="h264")),
    Material("h264-10-bit-422", "mkv", film(format="matroska", pix_fmt="yuv422p10le")),
    Material("hevc-open-gop", "mp4", film(Film("mp4", "libx265", x265(**{"open-gop": 1})))),
    Material("hevc-10-bit", "mkv", film(Film("matroska", "libx265", x265(**{"open-gop": 1}), pix_fmt="yuv420p10le"))),
    Material(
        "hevc-starts-at-a-cra",
        "ts",
        lambda: damage.drop_head(write(Film("mpegts", "libx265", x265(**{"open-gop": 1}), frames=60)), 0.3),
    ),
    Material(
        "mpeg2-interlaced-pal",
        "mpg",
        film(
            Film(
                "mpeg",
                "mpeg2video",
                {"flags": "+ildct+ilme", "g": "12", "bf": "2", "b": "3M"},
                interlaced="tff",
                size=(180, 144),
                sounds=(Sound("mp2"),),
                sar=Fraction(16, 15),
            )
        ),
    ),
    Material("mpeg2-soft-telecine", "mpg", lambda: telecined(hard=False)),
    Material("mpeg2-hard-telecine", "mpg", lambda: telecined(hard=True)),
    Material(
        "mpeg4-b-frames-in-avi", "avi", film(Film("avi", "mpeg4", {"g": "12", "bf": "2"}, sounds=(Sound("mp2"),)))
    ),
    Material("dv", "dv", film(Film("dv", "dvvideo", size=(720, 576), frames=12, sounds=(Sound("pcm_s16le"),)))),
    Material(
        "dv-ntsc-411",
        "avi",
        film(
            Film(
                "avi",
                "dvvideo",
                size=(720, 480),
                frames=12,
                pix_fmt="yuv411p",
                rate=Fraction(30000, 1001),
                sounds=(Sound("pcm_s16le"),),
            )
        ),
    ),
    Material(
        "mpeg4-interlaced",
        "avi",
        film(Film("avi", "mpeg4", {"g": "12", "bf": "2", "flags": "+ildct+ilme"}, interlaced="tff")),
    ),
    Material("h263-all-marked-as-keys", "avi", film(Film("avi", "h263p", {"g": "12"}, size=(176, 144)))),
    Material("png-16-bit", "mov", film(Film("mov", "png", pix_fmt="rgb48be"))),
    Material("mjpeg", "avi", film(Film("avi", "mjpeg", pix_fmt="yuvj420p", sounds=(Sound("pcm_s16le"),)))),
    Material(
        "prores",
        "mov",
        film(
            Film("mov", "prores_ks", pix_fmt="yuv422p10le", sounds=(Sound("pcm_s16le"),)),
        ),
        "mov",
    ),
    Material(
        "vp8",
        "webm",
        film(
            Film(
                "webm",
                "libvpx",
                {"g": "16", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "4"},
                sounds=(Sound("libopus"),),
            )
        ),
    ),
    Material(
        "vp9",
        "webm",
        film(
            Film(
                "webm",
                "libvpx-vp9",
                {"g": "16", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"},
                sounds=(Sound("libopus"),),
            )
        ),
    ),
    Material("av1", "mp4", film(Film("mp4", "libsvtav1", {"preset": "11", "g": "16"}, sounds=STEREO))),
    Material("ffv1", "mkv", film(Film("matroska", "ffv1", {"level": "3", "g": "10"}, sounds=(Sound("flac"),)))),
    Material("fragmented-mp4", "mp4", film(muxer={"movflags": "frag_keyframe+empty_moov"}, sounds=STEREO)),
    Material(
        "mov-with-edit-list",
        "mov",
        lambda: remux(write(replace(H264, format="mov", sounds=STEREO)), "mov", shift={0: 0.52}),
        "mov",
    ),
    Material(
        "sound-before-picture",
        "mkv",
        lambda: remux(write(replace(H264, format="matroska", sounds=STEREO)), "matroska", shift={0: 0.35}),
    ),
    Material("sound-after-picture", "mp4", film(sounds=(Sound("aac", start=0.4, length=1.2),)), "mp4"),
    Material(
        "non-zero-start",
        "ts",
        film(format="mpegts", time_base=Fraction(1, 25), times=range(250, 298), sounds=(Sound("mp2", start=10.0),)),
    ),
    Material("variable-rate-mp4", "mp4", film(times=variable(48), time_base=Fraction(1, 1000), sounds=STEREO), "mp4"),
    Material("variable-rate-mkv", "mkv", film(format="matroska", times=variable(48), time_base=Fraction(1, 1000))),
    Material("cover-first", "mp4", lambda: cover("mp4")),
    Material("cover-first-mkv", "mkv", lambda: cover("matroska")),
    Material("everything-in-mkv", "mkv", rich),
    Material("sar-and-rotation", "mp4", film(sar=Fraction(4, 3), rotation=90), "mp4"),
    Material("sar-in-mkv", "mkv", film(format="matroska", sar=Fraction(16, 11))),
    *(
        Material(
            f"{matrix}-{'full' if spread == 2 else 'limited'}-{bits}-bit",
            "mkv" if bits == 10 else "mp4",
            film(
                format="matroska" if bits == 10 else "mp4",
                pix_fmt="yuv420p10le" if bits == 10 else "yuv420p",
                colour=(spread, *codes),
            ),
        )
        for matrix, codes in (("bt601", (6, 6, 6)), ("bt709", (1, 1, 1)), ("bt2020", (9, 14, 9)))
        for spread in (1, 2)
        for bits in (8, 10)
    ),
    Material("odd-size", "mkv", film(Film("matroska", "ffv1", {"level": "3"}, size=(97, 63)))),
    Material("grey", "mkv", film(Film("matroska", "ffv1", {"level": "3"}, pix_fmt="gray"))),
    Material("rgb", "mkv", film(Film("matroska", "libx264rgb", {"qp": "5"}, pix_fmt="bgr0"))),
    Material("one-frame", "mp4", film(frames=1)),
    Material("resolution-change", "ts", resized, expect="damaged"),
    Material("discontinuous-times", "ts", jumping, expect="joined"),
    Material("spliced-program-stream", "mpg", spliced, expect="joined"),
    Material(
        "hdr-pq",
        "mkv",
        film(Film("matroska", "libx265", x265(), pix_fmt="yuv420p10le", colour=(1, 9, 16, 9))),
        expect="refused",
    ),
    Material("no-moov", "mp4", lambda: damage.no_moov(write(replace(H264, sounds=STEREO))), expect="refused"),
    Material(
        "no-parameter-sets",
        "h264",
        lambda: damage.no_parameter_sets(write(replace(H264, format="h264"))),
        expect="refused",
    ),
    *(
        Material(f"{what}-{suffix}", suffix, partial(_damaged, what, suffix), expect="damaged")
        for what in ("scrambled", "dropped", "truncated")
        for suffix in ("mp4", "mkv", "ts")
    ),
    *FOUND,
    *KINDS,
)


def _sound_film(suffix: str) -> bytes:
    form = {"mp4": "mp4", "mkv": "matroska", "ts": "mpegts"}[suffix]
    muxer = {"movflags": "faststart"} if suffix == "mp4" else {}
    return write(replace(H264, format=form, frames=60, size=(160, 96), sounds=(Sound("mp2"),), muxer=muxer))


def by_name(name: str) -> Material:
    """Return the material of that name."""
    return next(m for m in MATERIALS if m.name == name)
