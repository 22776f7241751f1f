"""Target codecs: encoder, pixel format, options. Pure, so that planning and encoding agree.

Every chunk is encoded by a fresh encoder and all chunks are joined by stream copy, so nothing in an encoder's headers
may depend on the machine: they have neither thread counts nor library banners.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.context import ThreadType

from contract.errors import Unsupported, UsageError
from contract.job import Codec, Spec
from media import nvenc, x264

CONTAINERS = {
    "mp4": "mp4", "m4v": "mp4", "mov": "mov", "qt": "mov", "mkv": "matroska", "webm": "webm", "ts": "mpegts",
    "m2ts": "mpegts", "mts": "mpegts",
}  # fmt: skip
"""Muxer by file suffix: containers that hold exact times. AVI and program streams do not, and are not written."""
SUFFIXES = {"mp4": "mp4", "mov": "mov", "matroska": "mkv", "webm": "webm", "mpegts": "ts"}


@dataclass(frozen=True)
class Encoder:
    """One target codec. `name` is FFmpeg's encoder, `crf` and `preset` our defaults (None: it has no such option)."""

    name: str
    crf: float | None
    preset: str | None
    presets: tuple[str, ...]
    odd_sizes: bool
    """True when it encodes odd sizes of subsampled formats unchanged."""
    smallest: int = 2
    largest: int = 16384
    """Pixels a side that it takes."""


ENCODERS: dict[Codec, Encoder] = {
    "x264": Encoder("libx264", 18, x264.USUAL, x264.PRESETS, odd_sizes=False),
    "x265": Encoder("libx265", 20, "medium", x264.SPEEDS, odd_sizes=False),
    "svtav1": Encoder("libsvtav1", 24, "8", tuple(str(n) for n in range(14)), odd_sizes=False, smallest=64),
    "vp9": Encoder("libvpx-vp9", 24, "4", tuple(str(n) for n in range(9)), odd_sizes=True),
    "ffv1": Encoder("ffv1", None, None, (), odd_sizes=True, smallest=1, largest=65535),
    "prores": Encoder("prores_ks", None, None, (), odd_sizes=False),
    **{
        name: Encoder(name, card.quality, nvenc.PRESET, nvenc.PRESETS, False, card.smallest, card.largest)
        for name, card in nvenc.ENCODERS.items()
    },
}


@dataclass(frozen=True)
class PixelClass:
    """Capability of a pixel format. `chroma` is (log2 horizontal, log2 vertical) subsampling."""

    rgb: bool
    grey: bool
    alpha: bool
    depth: int
    chroma: tuple[int, int]
    flat: bool
    """False for semi-planar, packed, float and big-endian layouts, chosen only when the source has the same."""

    @property
    def model(self) -> str:
        """Colour model: rgb, grey or yuv."""
        return "rgb" if self.rgb else "grey" if self.grey else "yuv"


@functools.cache
def pixel_class(pix_fmt: str) -> PixelClass:
    """Describe FFmpeg's pixel format `pix_fmt`; raise Unsupported for an unknown one."""
    try:
        form = av.VideoFormat(pix_fmt)
    except ValueError as error:
        raise Unsupported(f"the pixel format {pix_fmt!r} is not known here; convert the film first.") from error
    colours = [c for c in form.components if not c.is_alpha]
    return PixelClass(
        rgb=form.is_rgb or form.has_palette or pix_fmt.startswith(("rgb", "bgr", "pal8")),
        grey=len(colours) == 1 and not form.has_palette and not pix_fmt.startswith("pal"),
        alpha=any(c.is_alpha for c in form.components),
        depth=max((c.bits for c in colours), default=8),
        chroma=(form.chroma_width(16).bit_length() * -1 + 5, form.chroma_height(16).bit_length() * -1 + 5),
        flat=form.is_planar or len(form.components) == 1 or pix_fmt in ("rgb24", "bgr0", "bgra"),
    )


_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv20le": "yuv422p10le",
    "p010le": "yuv420p10le", "p012le": "yuv420p12le", "p210le": "yuv422p10le", "yuyv422": "yuv422p",
    "uyvy422": "yuv422p", "yvyu422": "yuv422p", "gbrp": "gbrp",
}  # fmt: skip


def plain_name(pix_fmt: str) -> str:
    """Return the planar format with the same samples as `pix_fmt`.

    The deprecated ``j`` means full range, which is a separate tag; semi-planar and packed layouts are the same numbers in
    another order.
    """
    return _PLANAR.get(pix_fmt, pix_fmt.replace("yuvj", "yuv"))


_READABLE = re.compile(
    r"(yuvj?4(20|22|44|40|11|10)p|gray|gbrp)((9|1[0246])[bl]e)?|nv(12|16|21|24|42)|p[024]1[026][bl]e|(rgb|bgr)(0|24|48[bl]e)"
    r"|0rgb|0bgr|x2(rgb|bgr)10le|(yuyv|uyvy|yvyu)422|vuyx|y21[02]le|xv3[06]le|mono[bw]"
    r"|pal8|(rgb|bgr)(8|4_byte|(444|555|565)[bl]e)|yuva4(20|22|44)p((9|1[026])[bl]e)?|gbrap(1[0246][bl]e)?|rgba|bgra|argb|abgr|ya8"
)
OPAQUE = {"rgba": "rgb0", "bgra": "bgr0", "argb": "0rgb", "abgr": "0bgr", "ya8": "gray"}


def opaque_name(pix_fmt: str) -> str:
    """Return the format with the same colours as `pix_fmt` and without alpha; `pix_fmt` itself where it has none."""
    if pix_fmt.startswith(("yuva", "gbrap")):
        return pix_fmt.replace("yuva", "yuv", 1).replace("gbrap", "gbrp", 1)
    return OPAQUE.get(pix_fmt, pix_fmt)


def readable(pix_fmt: str) -> bool:
    """Return True if workers can convert `pix_fmt` to RGB; other formats are refused before any work."""
    return _READABLE.fullmatch(pix_fmt) is not None


def encodable(codec: Codec) -> list[str]:
    """List the pixel formats that the codec's encoder accepts; `coded_format` tells the layout in which it takes them."""
    if codec in nvenc.ENCODERS:
        return list(nvenc.ENCODERS[codec].formats)
    formats = av.Codec(ENCODERS[codec].name, "w").video_formats or []
    names = [f.name for f in formats if "yuvj" not in f.name and not f.name.startswith(("yaf", "grayf", "gbrpf", "nv"))]
    # x265 and VP9 keep transparency in a second layer that containers and players lose.
    return names if codec in ("ffv1", "prores") else [n for n in names if not pixel_class(n).alpha]


def choose_pix_fmt(codec: Codec, source: str, wanted: str | None) -> tuple[str, list[str]]:
    """Choose the pixel format to encode a `source` format with; return it with notes about what that changes.

    The nearest format wins: the same colour model, then no less chroma, then no less depth, then as little more as
    possible. A loss of depth is never chosen silently: it is refused unless the user named `wanted`.
    """
    able = encodable(codec)
    if wanted is not None:
        if wanted not in able:
            raise UsageError(f"{codec} cannot encode pixel format {wanted!r}; choose one of {', '.join(able)}.")
        return wanted, [] if wanted == plain_name(source) else [f"pixels are converted from {source} to {wanted}"]
    plain = plain_name(source)
    if plain in able:
        return plain, []
    have = pixel_class(plain)

    def cost(name: str) -> tuple[int, ...]:
        new = pixel_class(name)
        return (
            have.rgb != new.rgb and not have.grey,
            new.grey != have.grey,
            max(0, new.chroma[0] - have.chroma[0]) + max(0, new.chroma[1] - have.chroma[1]) if not have.grey else 0,
            max(0, have.depth - new.depth),
            have.alpha and not new.alpha,
            new.rgb and have.grey,
            not new.flat,
            max(0, new.depth - have.depth),
            max(0, have.chroma[0] - new.chroma[0]) + max(0, have.chroma[1] - new.chroma[1]),
            new.alpha and not have.alpha,
            have.grey and sum(new.chroma) != 2 and not new.grey,
        )

    best = min(able, key=cost)
    new = pixel_class(best)
    if new.depth < have.depth:
        ways = _way_out(codec, have.depth)
        raise Unsupported(f"{codec} cannot hold the {have.depth} bits of {source}; {ways} --pix-fmt {best}.")
    notes = [f"pixels are converted from {source} to {best}, the nearest that {codec} can encode"]
    if have.alpha and not new.alpha:
        raise Unsupported(f"{codec} cannot hold the transparency of {source}; {_way_out(codec)} --pix-fmt {best}.")
    return best, notes


def _way_out(codec: Codec, depth: int = 0) -> str:
    """Begin the advice where a codec loses something: others that hold it, and the option that accepts the loss."""
    others = "hevc_nvenc or ffv1" if codec == "h264_nvenc" and 8 < depth <= 10 else "ffv1"
    return "accept the loss with" if codec == "ffv1" else f"choose --codec {others}, or accept the loss with"


def coded_format(codec: Codec, pix_fmt: str) -> str:
    """Return the layout in which the codec's encoder takes the samples of `pix_fmt`."""
    return nvenc.LAYOUTS.get(pix_fmt, pix_fmt) if codec in nvenc.ENCODERS else pix_fmt


PROGRESSIVE = 1
"""FFmpeg's AV_FIELD_PROGRESSIVE."""
BOTTOM_SHOWN_FIRST = (3, 5)
"""FFmpeg's AVFieldOrder of films whose bottom field is shown first; 2 and 4 are those of the top field.

AV_FIELD_TB (4) and AV_FIELD_BT (5) are `fiel` 9 and 14 of QuickTime. avcodec.h calls 4 "bottom displayed first", but its decoders
(rawdec.c, v210dec.c) and muxers (yuv4mpegenc.c) show the top field of 4 first."""


def encoder_options(
    codec: Codec, spec: Spec, pix_fmt: str, field_order: int = PROGRESSIVE, pixels: int = 0, before: int = 0
) -> dict[str, str]:
    """Return FFmpeg options for the encoder; raise UsageError for a preset or crf that it does not know.

    Films that stay interlaced (`field_order` above PROGRESSIVE) are encoded as such where the encoder can. By the
    size of a frame, its `pixels` and those that the source's had `before` (0: taken for enlarged), x264 has a preset where none is asked for.
    """
    options = _options(codec, spec, pix_fmt, pixels, before)
    if field_order > PROGRESSIVE and codec in ("x264", "prores"):
        options["flags"] = "+ildct"
        if codec == "x264" and field_order in BOTTOM_SHOWN_FIRST:  # else its headers always signal top field first
            options["x264-params"] += ":bff=1"
    return options


def _options(codec: Codec, spec: Spec, pix_fmt: str, pixels: int, before: int) -> dict[str, str]:
    encoder = ENCODERS[codec]
    if spec.crf is not None and encoder.crf is None:
        raise UsageError(f"--crf {spec.crf:g} means nothing to {codec}; leave it out.")
    if spec.preset is not None and spec.preset not in encoder.presets:
        known = ", ".join(encoder.presets) or "none"
        raise UsageError(f"--preset {spec.preset!r} is unknown to {codec}; it knows {known}.")
    limit = 51 if codec in ("x264", "x265", "h264_nvenc", "hevc_nvenc") else 63
    if spec.crf is not None and spec.crf > limit:
        raise UsageError(f"--crf {spec.crf:g} is beyond {limit}, the worst that {codec} knows.")
    crf = f"{encoder.crf if spec.crf is None else spec.crf:g}" if encoder.crf is not None else ""
    preset = (spec.preset or encoder.preset) or ""
    if codec in nvenc.ENCODERS:
        return nvenc.options(codec, crf, preset)
    if codec == "x264":
        return x264.options(crf, spec.preset, pixels, before)
    if codec == "x265":
        # info=0: the banner in the headers names the thread count; repeat-headers stays off for one global header.
        return {"crf": crf, "preset": preset, "x265-params": "open-gop=0:info=0:log-level=none"}
    if codec == "svtav1":
        return {"crf": f"{round(float(crf))}", "preset": preset}
    if codec == "vp9":
        return {"crf": f"{round(float(crf))}", "b": "0", "deadline": "good", "cpu-used": preset, "row-mt": "1"}
    if codec == "ffv1":
        return {
            "level": "3",
            "slicecrc": "1",
            "g": "1",
            "context": "0",
            "coder": "range_tab" if _deep(pix_fmt) else "1",
        }
    profile = "4" if pixel_class(pix_fmt).chroma == (0, 0) else "3"
    return {"profile": profile, "vendor": "apl0"}


def open_encoder(context: av.VideoCodecContext, threads: int = 0) -> None:
    """Open a configured encoder, or fail, and leave every thread of this process in the scheduling class that it had.

    `threads` bounds those of x264, 0 does not; of other encoders the film's headers or its frames could depend on them.
    SVT-AV1 run by root makes its own threads and the calling one real-time (SCHED_FIFO, measured on 4.1); all later
    threads and child processes would inherit that and starve other processes on the machine.
    """
    if context.name == "libx264":
        # By PyAV's default frames would be cut into a slice for each core: more bytes, and cores that wait for each other.
        context.thread_type, context.thread_count = ThreadType.FRAME, threads
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes its settings to stderr otherwise
    if sys.platform != "linux":
        context.open()
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        context.open()
    finally:  # also where SVT-AV1 refuses what it was asked for
        for thread in (int(task.name) for task in Path("/proc/self/task").iterdir()):
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, priority)


def _deep(pix_fmt: str) -> bool:
    return pixel_class(pix_fmt).depth > 8


def same_samples(frame: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    """Return `frame` in `pix_fmt`, with the same range.

    It is unchanged where it has that format, rearranged where only the layout differs (see `plain_name`), and converted by
    swscale otherwise.
    """
    name = frame.format.name
    if name == pix_fmt:
        return frame
    spread = 2 if name.startswith("yuvj") else frame.color_range
    same = spread if plain_name(name) == plain_name(pix_fmt) else None
    return frame.reformat(format=pix_fmt, src_color_range=spread, dst_color_range=same)
