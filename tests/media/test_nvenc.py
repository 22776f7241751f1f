"""Encoders of NVIDIA cards: what is asked of them, and what is refused before anything runs. None of this needs a card."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from contract.errors import Unsupported, UsageError
from contract.film import Colour
from contract.job import Codec, Spec
from contract.settings import Settings
from media import nvenc
from media.codecs import (
    ENCODERS,
    SUFFIXES,
    choose_pix_fmt,
    coded_format,
    encodable,
    encoder_options,
    pixel_class,
    same_samples,
)
from orchestrator.ingest.encoding import result_size
from orchestrator.ingest.probe import Picture
from orchestrator.submission.outlook import size_line
from orchestrator.submission.submit import draft
from orchestrator.witness.expectation import WRITTEN
from testkit.materials.recipe import x264
from testkit.materials.write import Film, write

NVENC = list(nvenc.ENCODERS)


def _opened(codec: Codec, pix_fmt: str, options: dict[str, str]) -> type[BaseException] | None:
    """Open an encoder and return how that fails: without a driver FFmpeg reads the options first, and then finds no library."""
    context = av.CodecContext.create(ENCODERS[codec].name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.time_base = 256, 256, Fraction(1, 25)
    context.pix_fmt, context.options = coded_format(codec, pix_fmt), options
    try:
        context.open()
    except av.FFmpegError as error:
        return type(error)
    return None


@pytest.mark.parametrize("codec", NVENC)
def test_quality_and_preset_become_options_that_the_encoder_has(codec: Codec) -> None:
    """The quality is `cq` without a bound of bits, the preset its own, and FFmpeg refuses none of the values but knows every name."""
    usual = encoder_options(codec, Spec("identity", codec=codec), "yuv420p")
    quality = f"{nvenc.ENCODERS[codec].quality:g}"
    assert usual == {"rc": "vbr", "cq": quality, "b": "0", "preset": "p5", "a53cc": "0"}
    asked = encoder_options(codec, Spec("identity", codec=codec, crf=23.5, preset="p7"), "yuv420p")
    assert (asked["cq"], asked["preset"]) == ("23.5", "p7")
    for pix_fmt in encodable(codec):
        for preset in nvenc.PRESETS:
            assert _opened(codec, pix_fmt, asked | {"preset": preset}) in (None, av.error.PermissionError)
        for name in asked:
            assert _opened(codec, pix_fmt, asked | {name: "none such"}) is av.error.ArgumentError, name


@pytest.mark.parametrize(("codec", "most"), [("h264_nvenc", 51), ("hevc_nvenc", 51), ("av1_nvenc", 63)])
def test_values_that_it_does_not_know_are_refused(codec: Codec, most: int) -> None:
    """A quality beyond its range, 0 (which it takes for "choose yourself"), and presets of other encoders."""
    assert encoder_options(codec, Spec("identity", codec=codec, crf=most), "yuv420p")["cq"] == str(most)
    if most < 63:
        with pytest.raises(UsageError, match=f"52 is beyond {most}"):
            encoder_options(codec, Spec("identity", codec=codec, crf=52), "yuv420p")
    else:
        assert _opened(codec, "yuv420p", {"cq": "64"}) is av.error.OverflowError
    with pytest.raises(UsageError, match=f"--crf 0 lets {codec} choose .* no lossless mode here; .* --codec ffv1"):
        encoder_options(codec, Spec("identity", codec=codec, crf=0), "yuv420p")
    with pytest.raises(UsageError, match=f"'medium' is unknown to {codec}; it knows p1, p2"):
        encoder_options(codec, Spec("identity", codec=codec, preset="medium"), "yuv420p")


def test_depth_and_chroma() -> None:
    """HEVC and AV1 take ten bits; H.264 refuses them and names HEVC. Fuller chroma becomes 4:2:0 with a note, or is refused where it was asked for."""
    with pytest.raises(
        Unsupported, match="h264_nvenc cannot hold the 10 bits of yuv420p10le; choose --codec hevc_nvenc or"
    ):
        choose_pix_fmt("h264_nvenc", "yuv420p10le", None)
    assert choose_pix_fmt("h264_nvenc", "yuv420p10le", "yuv420p")[0] == "yuv420p"
    for codec in ("hevc_nvenc", "av1_nvenc"):
        assert choose_pix_fmt(codec, "p010le", None) == ("yuv420p10le", [])
        with pytest.raises(Unsupported, match=f"{codec} cannot hold the 12 bits .* choose --codec ffv1,"):
            choose_pix_fmt(codec, "yuv420p12le", None)
        with pytest.raises(Unsupported, match="transparency of yuva420p; choose --codec ffv1,"):
            choose_pix_fmt(codec, "yuva420p", None)
    for codec in NVENC:
        chosen, (note,) = choose_pix_fmt(codec, "yuv422p", None)
        assert chosen == "yuv420p"
        assert f"converted from yuv422p to yuv420p, the nearest that {codec} can encode" in note
        with pytest.raises(UsageError, match=f"{codec} cannot encode pixel format 'yuv444p'; choose one of yuv420p"):
            choose_pix_fmt(codec, "yuv444p", "yuv444p")


@pytest.mark.parametrize("spread", [1, 2])
def test_ten_bits_are_rearranged_without_a_change(spread: int) -> None:
    """The card takes ten bits in the upper part of words, chroma interleaved: every sample comes back, also in full range."""
    frame = av.VideoFrame(160, 146, "yuv420p10le")
    random = np.random.default_rng(3)
    for plane in frame.planes:
        plane.update(random.integers(0, 1024, plane.buffer_size // 2, dtype=np.uint16).tobytes())
    frame.color_range = spread
    taken = same_samples(frame, coded_format("hevc_nvenc", "yuv420p10le"))
    assert taken.format.name == "p010le"
    assert np.array_equal(same_samples(taken, "yuv420p10le").to_ndarray(), frame.to_ndarray())
    assert coded_format("hevc_nvenc", "yuv420p") == "yuv420p"
    assert coded_format("x265", "yuv420p10le") == "yuv420p10le"


@pytest.mark.parametrize(
    ("codec", "least", "most"), [("h264_nvenc", 146, 4096), ("hevc_nvenc", 130, 8192), ("av1_nvenc", 128, 8192)]
)
def test_sizes_that_no_card_takes_are_refused(codec: Codec, least: int, most: int) -> None:
    """The least and the largest pictures pass, two pixels fewer or more are refused by the codec's name."""
    spec = Spec("identity", codec=codec)
    look = Picture(256, 256, "yuv420p", Colour("bt601", False), (0, 1), False)
    form = pixel_class("yuv420p")
    for side in (least, most):
        assert result_size(replace(look, width=side, height=side), spec, 1, form) == (side, side)
    with pytest.raises(Unsupported, match=f"{codec} encodes nothing smaller than"):
        result_size(replace(look, width=least - 2), spec, 1, form)
    with pytest.raises(Unsupported, match=f"{codec} encodes up to {most} pixels"):
        result_size(replace(look, width=most + 2), spec, 1, form)


@pytest.mark.parametrize("codec", NVENC)
def test_a_plan_names_one_encoder_for_all_chunks(codec: Codec, tmp_path: Path) -> None:
    """The film's index has FFmpeg's encoder and all options, the same for every chunk; the outlook calls the size a guess."""
    source = tmp_path / "film.mp4"
    source.write_bytes(write(Film("mp4", "libx264", x264(), frames=9, size=(160, 146))))
    spec = Spec("identity", codec=codec, chunk_frames=3, preset="p4")
    (film,) = draft([source], spec, Settings()).films
    wanted = film.index.encoding
    assert (wanted.codec, wanted.encoder, wanted.pix_fmt) == (codec, codec, "yuv420p")
    assert wanted.options == encoder_options(codec, spec, "yuv420p")
    assert len(film.index.chunks) == 3
    assert "a guess" in size_line([film])


@pytest.mark.parametrize(
    ("codec", "suffix", "holds"),
    [
        ("h264_nvenc", "ts", True), ("hevc_nvenc", "mov", True), ("av1_nvenc", "webm", True),
        ("av1_nvenc", "mov", False), ("h264_nvenc", "webm", False),
    ],
)  # fmt: skip
def test_containers_hold_what_those_of_the_format_hold(codec: Codec, suffix: str, holds: bool, tmp_path: Path) -> None:
    """Containers depend on the format and not on who encodes it."""
    source = tmp_path / "film.mkv"
    source.write_bytes(write(Film("matroska", "libx264", x264(), frames=3, size=(160, 146))))
    spec = Spec("identity", codec=codec, container=suffix)
    if holds:
        assert SUFFIXES[draft([source], spec, Settings()).films[0].index.container] == suffix
    else:
        with pytest.raises(Unsupported, match=f"encoded with {codec} is what {suffix} cannot hold; name the result"):
            draft([source], spec, Settings())
    assert WRITTEN[codec] == WRITTEN[nvenc.ENCODERS[codec].instead]
