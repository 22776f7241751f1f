"""Films drawn at random from a grammar: codec, container, shape, clock, sound, ways of joining, messages, lost headers.

A number seeds everything about a film, so a number is its name. `draw` returns its recipe in words and its bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import av.error
import numpy as np

from testkit.materials.headers import h264_set, hevc_set, indexed
from testkit.materials.joined import appended, joined_flv, joined_mp4, without_later
from testkit.materials.messages import ALWAYS, SELDOM, captioned
from testkit.materials.recipe import x264, x265
from testkit.materials.write import Film, Sound, remux, text_stream, write

Rng = np.random.Generator


@dataclass(frozen=True)
class Coding:
    """One way to encode pictures: `options` draws the encoder's, `containers` take it, `formats` are pixel formats."""

    codec: str
    containers: tuple[str, ...]
    formats: tuple[str, ...]
    options: Callable[[Rng], dict[str, str]] = lambda _: {}
    interlaced: bool = False
    sizes: tuple[tuple[int, int], ...] = ((64, 48), (96, 64), (98, 50))


def _h264(rng: Rng) -> dict[str, str]:
    more: dict[str, object] = {"bframes": int(rng.integers(0, 4)), "ref": int(rng.integers(1, 5))}
    if rng.random() < 0.3:
        more["open-gop"] = 1
    if rng.random() < 0.15:
        more["intra-refresh"] = 1
    if rng.random() < 0.2:
        more |= {"cabac": 0, "8x8dct": 0}
    return x264(int(rng.choice([4, 8, 12, 250])), **more)


def _hevc(rng: Rng) -> dict[str, str]:
    return x265(int(rng.choice([6, 12])), **{"open-gop": int(rng.random() < 0.5), "bframes": int(rng.integers(0, 4))})


def _mpeg2(rng: Rng) -> dict[str, str]:
    flags = {"flags": "+ildct+ilme"} if rng.random() < 0.2 else {}
    return {"g": str(rng.choice([1, 6, 12])), "bf": str(rng.integers(0, 3)), "b": "2M", **flags}


def _groups(rng: Rng) -> dict[str, str]:
    return {"g": str(rng.choice([1, 6, 12]))}


def _vpx(rng: Rng) -> dict[str, str]:
    late = {"auto-alt-ref": "1", "lag-in-frames": "12"} if rng.random() < 0.6 else {}
    return {"g": str(rng.choice([4, 12])), "cpu-used": "8", "deadline": "realtime" if not late else "good", **late}


CODINGS = (
    Coding("libx264", ("mp4", "mov", "matroska", "mpegts", "avi", "flv", "h264", "nut"), ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le"), _h264),
    Coding("libx265", ("mp4", "mov", "matroska", "mpegts", "hevc"), ("yuv420p", "yuv420p10le"), _hevc),
    Coding("mpeg2video", ("mpeg", "mpegts", "matroska", "mov", "mxf", "avi", "mpeg2video", "vob"), ("yuv420p", "yuv422p"), _mpeg2, True),
    Coding("mpeg1video", ("mpeg", "mpegts", "matroska", "avi"), ("yuv420p",), _groups),
    Coding("mpeg4", ("avi", "mp4", "matroska", "mov", "m4v", "mpegts"), ("yuv420p",), lambda r: _groups(r) | {"bf": str(r.integers(0, 3))}),
    Coding("mjpeg", ("avi", "mov", "matroska", "mjpeg"), ("yuvj420p", "yuvj422p", "yuvj444p")),
    Coding("ffv1", ("matroska", "avi", "nut", "mov"), ("yuv420p", "yuv422p10le", "gray", "gbrp", "bgr0", "yuv444p16le"), _groups, True),
    Coding("libvpx", ("webm", "matroska"), ("yuv420p",), _vpx),
    Coding("libvpx-vp9", ("webm", "mp4", "matroska"), ("yuv420p", "yuv444p"), _vpx),
    Coding("libsvtav1", ("mp4", "matroska", "webm", "obu", "ivf"), ("yuv420p", "yuv420p10le"), lambda _: {"preset": "12", "g": "12"}, sizes=((64, 64), (98, 66))),
    Coding("prores_ks", ("mov", "matroska", "mxf"), ("yuv422p10le", "yuv444p10le"), interlaced=True),
    Coding("dnxhd", ("mov", "mxf", "matroska"), ("yuv422p",), lambda _: {"profile": "dnxhr_sq"}, sizes=((256, 120),)),
    Coding("dvvideo", ("avi", "dv", "mov", "matroska"), ("yuv420p",), sizes=((720, 576),), interlaced=True),
    Coding("huffyuv", ("avi", "matroska"), ("yuv422p", "rgb24")),
    Coding("ffvhuff", ("avi", "matroska"), ("yuv420p", "rgb24"), lambda r: {"context": str(r.integers(0, 2))}),
    Coding("utvideo", ("avi", "matroska"), ("yuv420p", "gbrp")),
    Coding("magicyuv", ("avi", "mov"), ("yuv420p", "gbrp")),
    Coding("png", ("mov", "avi", "matroska"), ("rgb24", "rgb48be", "gray")),
    Coding("rawvideo", ("avi", "mov", "nut", "matroska"), ("yuv420p", "uyvy422", "pal8", "rgb24")),
    Coding("v210", ("mov", "avi"), ("yuv422p10le",)),
    Coding("h263p", ("avi", "mov", "matroska"), ("yuv420p",), _groups, sizes=((176, 144),)),
    Coding("flv", ("flv", "avi"), ("yuv420p",), _groups),
    Coding("msmpeg4", ("avi", "asf", "matroska"), ("yuv420p",), _groups),
    Coding("msmpeg4v2", ("avi", "asf"), ("yuv420p",), _groups),
    Coding("wmv1", ("asf", "avi", "matroska"), ("yuv420p",), _groups),
    Coding("wmv2", ("asf", "avi", "matroska"), ("yuv420p",), _groups),
    Coding("cinepak", ("mov", "avi"), ("rgb24",)),
    Coding("svq1", ("mov",), ("yuv410p",)),
    Coding("qtrle", ("mov",), ("rgb24", "gray")),
    Coding("flashsv", ("flv",), ("bgr24",)),
    Coding("zmbv", ("avi",), ("bgr0",)),
    Coding("jpeg2000", ("mov", "mxf", "matroska"), ("yuv420p", "rgb24")),
    Coding("gif", ("gif",), ("pal8",)),
    Coding("snow", ("avi", "nut"), ("yuv420p",), _groups),
    Coding("dirac", ("ogg", "matroska"), ("yuv420p",), _groups),
)  # fmt: skip
SOUNDS = (
    "aac",
    "mp2",
    "libmp3lame",
    "ac3",
    "eac3",
    "pcm_s16le",
    "pcm_s24le",
    "libopus",
    "flac",
    "alac",
    "pcm_s16be",
    "wmav2",
)
RATES = (
    Fraction(25),
    Fraction(24000, 1001),
    Fraction(30000, 1001),
    Fraction(50),
    Fraction(12),
    Fraction(1200),
    Fraction(15, 2),
)
SRT = "1\n00:00:00,100 --> 00:00:00,600\nOne\n\n2\n00:00:00,700 --> 00:00:01,100\nTwo\n"


@dataclass(frozen=True)
class Drawn:
    """A film of the grammar: its recipe in words, suffix and bytes, and whether its frames are woven from fields."""

    words: str
    form: str
    data: bytes
    interlaced: bool


def draw(seed: int) -> Drawn:
    """Draw the film of a seed. What an encoder or muxer does not take is drawn again, from the same seed on."""
    rng = np.random.default_rng((14, seed))
    while True:
        base = _base(rng)
        try:
            return _derived(base, rng)
        except (av.error.FFmpegError, ValueError, StopIteration, KeyError, AssertionError, OSError):
            continue


def _base(rng: Rng) -> Film:
    coding = CODINGS[int(rng.integers(len(CODINGS)))]
    frames = int(rng.integers(14, 40)) if coding.codec != "dvvideo" else 8
    rate = RATES[int(rng.choice(len(RATES), p=(0.4, 0.12, 0.2, 0.1, 0.06, 0.06, 0.06)))]
    if coding.codec in ("dvvideo", "mpeg1video", "mpeg2video"):
        rate = Fraction(25)
    picture = indexed if "pal8" in coding.formats else None
    pix_fmt = str(rng.choice(coding.formats))
    film = Film(
        str(rng.choice(coding.containers)),
        coding.codec,
        coding.options(rng),
        frames=frames,
        size=coding.sizes[int(rng.integers(len(coding.sizes)))],
        pix_fmt=pix_fmt,
        rate=rate,
        sounds=tuple(_sound(rng) for _ in range(int(rng.choice([0, 1, 2], p=[0.4, 0.5, 0.1])))),
        interlaced=str(rng.choice(["tff", "bff"])) if coding.interlaced and rng.random() < 0.3 else "",
        picture=picture if pix_fmt == "pal8" else None,
        seed=int(rng.integers(1, 1000)),
    )
    if rng.random() < 0.15 and rate <= 50:
        steps = rng.choice([20, 40, 40, 40, 60, 120], frames - 1)
        film = replace(film, times=[0, *itertools.accumulate(int(s) for s in steps)], time_base=Fraction(1, 1000))
    if rng.random() < 0.2:
        film = replace(film, sar=Fraction(int(rng.integers(1, 20)), int(rng.integers(1, 20))))
    if rng.random() < 0.15 and film.format in ("mp4", "mov"):
        film = replace(film, rotation=float(rng.choice([90, 180, 270])))
    if rng.random() < 0.2:
        codes = ((6, 6, 6), (1, 1, 1), (9, 14, 9))[int(rng.integers(3))]
        film = replace(film, colour=(int(rng.integers(1, 3)), *codes))
    if rng.random() < 0.15 and film.format == "matroska":
        film = replace(film, extra=(text_stream(SRT, "srt", "eng"),))
    return film


def _sound(rng: Rng) -> Sound:
    start = float(rng.choice([0.0, 0.0, 0.0, 0.13]))
    layout = str(rng.choice(["stereo", "stereo", "mono"]))
    return Sound(str(rng.choice(SOUNDS)), int(rng.choice([48000, 48000, 44100])), start=start, layout=layout)


def _derived(base: Film, rng: Rng) -> Drawn:
    """Join, strip, shift or caption `base`, or leave it as it is."""
    way = str(rng.choice(["plain", "joined", "headers", "captions", "shifted"], p=[0.4, 0.25, 0.12, 0.13, 0.1]))
    words = f"{base.codec} {base.pix_fmt} {base.size[0]}x{base.size[1]} {base.rate} in {base.format}"
    words += "".join(f" +{s.codec}" for s in base.sounds) + (f" {base.interlaced}" if base.interlaced else "")
    if way == "joined":
        data = _joined(base, rng)
    elif way == "headers" and base.format in ("h264", "hevc"):
        data = without_later(write(base), h264_set if base.format == "h264" else hevc_set, 3)
    elif way == "captions" and base.codec in ("libx264", "libx265", "mpeg2video"):
        data = captioned(base, SELDOM if rng.random() < 0.5 else ALWAYS)
    elif way == "shifted" and base.format in ("mp4", "mov", "matroska", "mpegts"):
        options = {"avoid_negative_ts": "disabled"} if base.format in ("mp4", "mov") else {}
        data = remux(write(base), base.format, options, {int(rng.integers(0, 2)): float(rng.choice([-0.3, 0.21, 0.5]))})
    else:
        way, data = "plain", write(base)
    return Drawn(f"{words}, {way}", base.format, data, bool(base.interlaced))


def _joined(base: Film, rng: Rng) -> bytes:
    """Join `base` with another film of the same codec, as tools for its container do."""
    other = replace(base, seed=base.seed + 1)
    if base.codec == "libx264":
        other = replace(other, options=_h264(rng))
    elif base.codec in ("mpeg4", "mpeg2video"):
        other = replace(other, options={"g": "6", "bf": "0"} | ({"b": "2M"} if base.codec == "mpeg2video" else {}))
    if base.format in ("mp4", "mov"):
        base, other = (replace(f, sounds=(), format="mp4") for f in (base, other))
        return joined_mp4(write(base), write(other))
    if base.format == "flv":
        return joined_flv(write(base), write(other))
    if base.format in ("mpegts", "mpeg", "vob", "dv", "h264", "hevc", "m4v", "mpeg2video", "mjpeg"):
        return write(base) + write(other)
    start = base.frames
    later = replace(other, times=range(start, 2 * start), time_base=1 / base.rate, sounds=())
    return appended([write(replace(base, sounds=(), times=None)), write(later)], base.format)
