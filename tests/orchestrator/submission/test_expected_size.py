"""Expected sizes: against results that are made here, and the direction in which each fact moves them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import pytest

from contract.film import Colour, Encoding
from contract.job import Codec, Spec
from contract.settings import Settings
from media.codecs import ENCODERS, encoder_options
from orchestrator.submission.expected_size import expected_bytes, picture_bytes
from orchestrator.submission.outlook import byte_range
from orchestrator.submission.submit import draft
from testkit.natural_clips import make_moving


def plan(codec: Codec, scale: int = 2, pix_fmt: str = "yuv420p", crf: float | None = None) -> Encoding:
    """An encoding of 320x240 enlarged."""
    options = encoder_options(codec, Spec("lanczos", codec=codec, crf=crf), pix_fmt)
    size = (320 * scale, 240 * scale)
    return Encoding(codec, ENCODERS[codec].name, pix_fmt, *size, (25, 1), options, Colour("bt601", False))


def expected(encoding: Encoding, own: int = 200_000) -> tuple[int, int]:
    """The range for 100 frames of 320x240."""
    return picture_bytes(encoding, (320, 240), 100, own)


@pytest.mark.parametrize("codec", ["x264", "ffv1", "prores"])
def test_a_true_result_lies_in_the_range(codec: Codec, tmp_path: Path) -> None:
    """A natural film that is enlarged by swscale's Lanczos and encoded as planned has a size within the range."""
    source = make_moving(tmp_path / "film.mp4", 24, (160, 120))
    spec = Spec("lanczos", scale=2.0, codec=codec, container="mkv")
    index = draft([source], spec, Settings()).films[0].index
    low, high = expected_bytes(index, source.stat().st_size)
    result = tmp_path / "result.mkv"
    wanted = index.encoding
    with av.open(str(source)) as film, av.open(str(result), "w") as out:
        stream = out.add_stream(wanted.encoder, rate=25, options=dict(wanted.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = wanted.width, wanted.height, wanted.pix_fmt
        for frame in film.decode(video=0):
            large = frame.reformat(wanted.width, wanted.height, wanted.pix_fmt, interpolation="LANCZOS")
            out.mux(stream.encode(large))
        out.mux(stream.encode())
    assert low <= result.stat().st_size <= high


@pytest.mark.parametrize("codec", list(ENCODERS))
def test_sizes_follow_the_scale(codec: Codec) -> None:
    """More pixels are more bytes, never in more than proportion, and a range is a range."""
    sizes = [expected(plan(codec, scale)) for scale in (1, 2, 4)]
    assert all(0 < low < high for low, high in sizes)
    for (low, high), (more_low, more_high) in pairwise(sizes):
        assert low < more_low <= 4 * low
        assert high < more_high <= 4 * high


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1", "vp9", "h264_nvenc", "hevc_nvenc", "av1_nvenc"])
def test_sizes_follow_quality_and_the_sources_bits(codec: Codec) -> None:
    """A lower crf and a source of more bits make a larger result; away from the default crf the range is wider."""
    usual = ENCODERS[codec].crf
    assert usual is not None
    middle, fine, coarse = (expected(plan(codec, crf=usual + off)) for off in (0, -8, 8))
    assert fine[1] > middle[1] > coarse[1]
    assert middle[0] > coarse[0]
    assert all(high / low > middle[1] / middle[0] for low, high in (fine, coarse))
    assert expected(plan(codec), 400_000)[0] > expected(plan(codec), 200_000)[0]


def test_a_lossless_source_tells_less() -> None:
    """Its bits are noise and not material: the range is wider, and no larger however many they are."""
    wide, wider = expected(plan("x264"), 5_000_000), expected(plan("x264"), 11_000_000)
    assert wide == wider
    usual = expected(plan("x264"))
    assert wide[1] / wide[0] > 2 * usual[1] / usual[0]


def test_lossless_results_are_never_larger_than_raw() -> None:
    """Deeper samples take more, up to what they are without compression."""
    small, deep = expected(plan("ffv1", 1)), expected(plan("ffv1", 1, "yuv420p16le"))
    assert deep[0] > small[0]
    raw = 320 * 240 * 100 * 24 // 8
    assert deep[1] <= raw
    assert picture_bytes(plan("ffv1", 1), (1280, 960), 100, 1)[1] <= raw // 2


def test_sizes_are_written_with_one_unit() -> None:
    """Both ends in the unit of the larger one."""
    assert byte_range(276_000, 904_000) == "276 to 904 kB"
    assert byte_range(400_000, 1_300_000) == "0.40 to 1.3 MB"
    assert byte_range(12 * 10**9, 31 * 10**9) == "12 to 31 GB"
