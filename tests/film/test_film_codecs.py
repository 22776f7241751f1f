"""Target codecs: chunks that can be joined, 8 and 10 bits, a last chunk of one frame."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest

from contract.errors import Unsupported, UsageError
from contract.job import Codec, Item, Spec
from media import x264
from media.codecs import PROGRESSIVE, choose_pix_fmt, encoder_options, open_encoder
from orchestrator.ingest.film import plan_film
from testkit.materials.check import compare, film_of
from testkit.materials.in_process import restore
from testkit.materials.write import Film, write

CASES = [
    *(
        (codec, pix, suffix)
        for codec in ("x264", "x265")
        for pix in ("yuv420p", "yuv420p10le")
        for suffix in ("mp4", "ts")
    ),
    *(("svtav1", pix, suffix) for pix in ("yuv420p", "yuv420p10le") for suffix in ("mp4", "webm")),
    ("vp9", "yuv420p", "webm"),
    ("ffv1", "yuv420p", "mkv"),
    ("ffv1", "yuv420p10le", "mkv"),
    ("prores", "yuv422p10le", "mov"),
]


def _source(pix_fmt: str) -> bytes:
    """21 frames: with chunks of 10, the last has one."""
    return write(
        Film(
            "matroska", "ffv1", {"level": "3", "g": "1"}, frames=21, size=(128, 96), pix_fmt=pix_fmt, sar=Fraction(4, 3)
        )
    )


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "preset"),
    [
        *((*case, None) for case in CASES),
        ("x264", "yuv420p", "mp4", "quick"),
        ("x264", "yuv420p10le", "ts", "quick"),
    ],
)
def test_chunks_join_without_a_seam(
    codec: Codec, pix_fmt: str, suffix: str, preset: str | None, tmp_path: Path
) -> None:
    """Chunks of every codec, x264's with our preset too, the last of one frame, play as one stream: all frames, exact times, no decoder's complaint."""
    data = _source(pix_fmt)
    (tmp_path / "film.mkv").write_bytes(data)
    spec = Spec(model="identity", codec=codec, preset=preset, chunk_frames=10)
    done = restore(tmp_path / "film.mkv", f"result.{suffix}", spec, tmp_path)
    assert [c.count for c in done.index.chunks] == [10, 10, 1]
    verdict = compare(data, done.data, codec == "ffv1", codec)
    assert verdict.problems == []
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as messages, av.open(io.BytesIO(done.data)) as container:
            stream = film_of(container)
            stream.codec_context.thread_count = 1
            assert sum(1 for _ in container.decode(stream)) == 21
            assert stream.codec_context.pix_fmt == choose_pix_fmt(codec, pix_fmt, None)[0]
    finally:
        av.logging.set_level(before)
    assert messages == []


@pytest.mark.parametrize(
    ("codec", "source", "expected"),
    [
        ("x264", "yuvj420p", "yuv420p"),
        ("x264", "yuv422p10le", "yuv422p10le"),
        ("x264", "yuv411p", "yuv422p"),
        ("x264", "gbrp", "yuv444p"),
        ("svtav1", "yuv422p10le", "yuv420p10le"),
        ("svtav1", "gray", "yuv420p"),
        ("ffv1", "p010le", "yuv420p10le"),
        ("ffv1", "yuv410p", "yuv410p"),
        ("ffv1", "pal8", "bgr0"),
        ("prores", "yuv420p", "yuv422p10le"),
    ],
)
def test_the_nearest_pixel_format_is_chosen(codec: Codec, source: str, expected: str) -> None:
    """Depth and chroma are kept where the encoder can, and never lost in silence."""
    chosen, notes = choose_pix_fmt(codec, source, None)
    assert chosen == expected
    assert bool(notes) == (
        expected not in (source, source.replace("yuvj", "yuv"), "yuv420p10le" if source == "p010le" else "")
    )


@pytest.mark.parametrize(("codec", "source"), [("vp9", "yuv420p10le"), ("x264", "yuv420p12le"), ("x264", "yuva420p")])
def test_a_loss_of_depth_or_transparency_is_refused(codec: Codec, source: str) -> None:
    """A codec that cannot hold the source's bits is refused, with the way to accept the loss."""
    with pytest.raises(Unsupported, match="--pix-fmt"):
        choose_pix_fmt(codec, source, None)


def test_large_frames_have_a_faster_preset_unless_one_is_asked_for() -> None:
    """From three megapixels on x264 has `quick` for enlarged frames and `faster` for others, both with a short lookahead; what is asked for is kept whole."""
    large, small = 2560 * 1920, 1920 * 1080

    def options(preset: str | None, pixels: int, before: int = 0) -> dict[str, str]:
        spec = Spec(model="identity", preset=preset)
        return encoder_options("x264", spec, "yuv420p", pixels=pixels, before=before)

    def preset(preset: str | None, pixels: int, before: int = 0) -> str:
        return x264.preset_of(options(preset, pixels, before))

    assert (preset(None, large, large // 16), preset(None, large, large // 4)) == ("quick", "quick")
    assert (preset(None, small, small // 16), preset(None, large, large // 3)) == ("medium", "faster")
    assert options(None, large, large)["x264-params"] == "open-gop=0:rc-lookahead=10"
    assert options("faster", large, large)["x264-params"] == "open-gop=0"
    for asked in x264.PRESETS:
        assert (preset(asked, large), preset(asked, small)) == (asked, asked)
    spec = Spec(model="identity", codec="x265")
    assert encoder_options("x265", spec, "yuv420p", pixels=large) == encoder_options("x265", spec, "yuv420p")
    with pytest.raises(UsageError, match=r"'quick' is unknown to x265; it knows ultrafast, .*, placebo"):
        encoder_options("x265", Spec(model="identity", codec="x265", preset="quick"), "yuv420p")


def _quick(pix_fmt: str, field_order: int, crf: float) -> tuple[list[av.VideoFrame], list[av.VideoFrame], bytes]:
    """Encode 12 frames of noise that moves, of 128x96, and return them, what a decoder makes of them, and the first packet."""
    context = av.codec.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 128, 96, pix_fmt
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = encoder_options(
        "x264", Spec(model="identity", preset="quick", crf=crf), pix_fmt, field_order=field_order
    )
    open_encoder(context)
    noise = np.random.default_rng(1).integers(0, 256, (96, 140, 3), dtype=np.uint8)
    given = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, n : n + 128]), format="rgb24").reformat(format=pix_fmt)
        for n in range(12)
    ]
    for n, frame in enumerate(given):
        frame.pts = n
    packets = [packet for frame in (*given, None) for packet in context.encode(frame)]
    decoder = av.codec.CodecContext.create("h264", "r")
    decoder.extradata = context.extradata
    seen = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return given, seen, bytes(packets[0])


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "gray", "gray10le"])
@pytest.mark.parametrize("field_order", [PROGRESSIVE, 2, 3])
def test_quick_encodes_each_kind_of_frames_and_its_film_says_so(pix_fmt: str, field_order: int) -> None:
    """x264 takes all of it in every format and field order, and its note in the film has it."""
    given, seen, note = _quick(pix_fmt, field_order, 18)
    assert len(seen) == len(given)
    for part in (b"mbtree=1", b"rc_lookahead=10", b"subme=2", b"deadzone=14,7", b"open_gop=0"):
        assert part in note


def test_quick_loses_nothing_at_crf_0() -> None:
    """It stays lossless where that is asked for."""
    given, seen, _ = _quick("yuv420p", PROGRESSIVE, 0)
    assert all((a.to_ndarray() == b.to_ndarray()).all() for a, b in zip(seen, given, strict=True))


def test_options_that_mean_nothing_are_refused() -> None:
    """A CRF for a lossless codec, unknown presets and impossible pixel formats are refused before any work."""
    with pytest.raises(UsageError, match="--crf 20 means nothing to ffv1"):
        encoder_options("ffv1", Spec(model="identity", codec="ffv1", crf=20), "yuv420p")
    with pytest.raises(UsageError, match="ultrafast"):
        encoder_options("x264", Spec(model="identity", preset="warp"), "yuv420p")
    with pytest.raises(UsageError, match="52 is beyond 51"):
        encoder_options("x264", Spec(model="identity", crf=52), "yuv420p")
    with pytest.raises(UsageError, match="cannot encode pixel format"):
        choose_pix_fmt("x264", "yuv420p", "yuv420p16le")


@pytest.mark.parametrize(
    ("size", "scale", "woven", "preset"),
    [
        ((640, 480), 4, False, "quick"),
        ((640, 480), 4, True, "quick"),
        ((2048, 1536), 1, False, "faster"),
        ((320, 240), 4, False, "medium"),
    ],
)
def test_a_planned_film_has_the_preset_of_its_enlargement(
    size: tuple[int, int], scale: float, woven: bool, preset: str
) -> None:
    """The source's size decides, also where its frames are made whole first."""
    spec = Spec(model="lanczos", scale=scale, deinterlace="bwdif" if woven else "auto")
    data = write(Film("matroska", "ffv1", {"level": "3", "g": "1"}, frames=2, size=size))
    item = Item(0, "video", "film.mkv", "out.mkv", "0" * 64, len(data))
    index = plan_film(io.BytesIO(data), item, spec, 1)
    assert index.deinterlace == woven
    assert x264.preset_of(index.encoding.options) == preset
