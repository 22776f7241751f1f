"""The processor time of encoders, as measured and published, for estimates of what limits a film. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract.job import Codec
from media import x264
from media.codecs import ENCODERS

SOURCE = "docs/performance.md, What encoders cost"
_LARGE, _SMALL = 2560 * 1920 / 1e6, 1280 * 960 / 1e6
"""Megapixels of a frame of those measurements."""


@dataclass(frozen=True)
class EncoderCost:
    """Seconds of one core that an encoder takes for a frame, from clean films to grainy ones; `named` is the encoder in words."""

    named: str
    least: float
    most: float
    told: str = SOURCE


@dataclass(frozen=True)
class Measured:
    """Core seconds of a frame with one preset ("" where the encoder has none): of a clean film and one with grain, at two sizes."""

    codec: Codec
    preset: str
    large: tuple[float, float]
    small: tuple[float, float]

    def of_frame(self, megapixels: float) -> tuple[float, float]:
        """Return the least and the most core seconds of a frame, by the four measured costs of a megapixel."""
        each = [seconds / size for size, pair in ((_LARGE, self.large), (_SMALL, self.small)) for seconds in pair]
        return min(each) * megapixels, max(each) * megapixels


MEASURED = (
    Measured("x264", "ultrafast", (0.018, 0.038), (0.007, 0.009)),
    Measured("x264", "superfast", (0.05, 0.096), (0.011, 0.022)),
    Measured("x264", "quick", (0.052, 0.124), (0.013, 0.031)),
    Measured("x264", "veryfast", (0.074, 0.18), (0.015, 0.052)),
    Measured("x264", "faster", (0.096, 0.271), (0.026, 0.062)),
    Measured("x264", "fast", (0.098, 0.38), (0.039, 0.09)),
    Measured("x264", "medium", (0.126, 0.519), (0.038, 0.122)),
    Measured("x264", "slow", (0.165, 0.831), (0.05, 0.198)),
    Measured("x264", "slower", (0.278, 1.752), (0.084, 0.441)),
    Measured("x265", "ultrafast", (0.089, 0.226), (0.023, 0.084)),
    Measured("x265", "veryfast", (0.178, 0.571), (0.048, 0.266)),
    Measured("x265", "fast", (0.242, 0.623), (0.066, 0.26)),
    Measured("x265", "medium", (0.273, 1.699), (0.083, 0.423)),
    Measured("svtav1", "10", (0.065, 0.104), (0.019, 0.027)),
    Measured("svtav1", "8", (0.101, 0.165), (0.033, 0.05)),
    Measured("svtav1", "6", (0.201, 0.308), (0.057, 0.08)),
    Measured("vp9", "8", (0.255, 0.858), (0.065, 0.255)),
    Measured("vp9", "4", (0.254, 0.748), (0.063, 0.222)),
    Measured("ffv1", "", (0.096, 0.118), (0.028, 0.031)),
    Measured("prores", "", (0.403, 0.454), (0.106, 0.108)),
)
"""Measured by `benchmarks.speed.presets` at the default CRF, with 8 bits in 4:2:0, and 10 bits in 4:2:2 for ProRes."""
_PIX_FMT: dict[Codec, str] = {"prores": "yuv422p10le"}


def encoder_cost(codec: Codec, options: Mapping[str, str], pix_fmt: str, pixels: int) -> EncoderCost | None:
    """Return what a frame of `pixels` costs an encoder with FFmpeg's `options`; None for a preset or a format that was not measured."""
    preset = preset_of(codec, options)
    if pix_fmt != _PIX_FMT.get(codec, "yuv420p") or "ildct" in options.get("flags", ""):
        return None
    for row in MEASURED:
        if (row.codec, row.preset) == (codec, preset):
            least, most = row.of_frame(pixels / 1e6)
            default = ENCODERS[codec].crf
            told = SOURCE
            if default is not None and options.get("crf", f"{default:g}") != f"{default:g}":
                told += f", at CRF {default:g}"
            return EncoderCost(named(codec, options), least, most, told)
    return None


def preset_of(codec: Codec, options: Mapping[str, str]) -> str:
    """Return the preset in an encoder's options, "" where it has none."""
    return x264.preset_of(options) if codec == "x264" else options.get("cpu-used" if codec == "vp9" else "preset", "")


def named(codec: Codec, options: Mapping[str, str]) -> str:
    """Name an encoder with its preset."""
    preset = preset_of(codec, options)
    return f"{codec} (preset {preset})" if preset else codec
