"""x264: its presets, one of our own, and its options. Pure."""

from __future__ import annotations

from collections.abc import Mapping

QUICK = "quick"
"""Our own preset, and that of frames of LARGE and more where none is asked for.

It is `superfast` with what costs little and saves bytes: macroblock trees over a short lookahead, and motion to a quarter of a pixel by Hadamard
transforms. Narrower dead zones give back what trellis quantization would keep. At an equal CRF its films are about as large and as good as those of `faster` with
that lookahead, in half the time of the processor; a longer one holds 15 MB a frame at 2560x1920 (docs/performance.md, x264's share).
"""
_QUICK = "rc-lookahead=10:mbtree=1:subme=2:deadzone-inter=14:deadzone-intra=7"
SPEEDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
"""Presets of x264 itself, which x265 has too."""
PRESETS = (*SPEEDS, QUICK)
LARGE = 3_000_000
"""Pixels of a frame from which on motion is fine enough for QUICK: an enlarged picture has little to gain from small blocks."""


def usual_preset(pixels: int) -> str:
    """Return the preset of frames of `pixels` where none is asked for."""
    return QUICK if pixels >= LARGE else "medium"


def options(crf: str, preset: str) -> dict[str, str]:
    """Return FFmpeg's options for a constant quality. Captions are put into the joined film, from the source's packets."""
    quick = preset == QUICK
    return {
        "crf": crf,
        "preset": "superfast" if quick else preset,
        "a53cc": "0",
        "x264-params": "open-gop=0" + (f":{_QUICK}" if quick else ""),
    }


def preset_of(options: Mapping[str, str]) -> str:
    """Return the preset, one of PRESETS, that FFmpeg's options were made for."""
    return QUICK if _QUICK in options.get("x264-params", "") else options.get("preset", "")
