"""x264: its presets, one of our own, and its options. Pure."""

from __future__ import annotations

from collections.abc import Mapping

QUICK = "quick"
"""Our own preset, and that of large enlarged frames where none is asked for.

It is `superfast` with what costs little and saves bytes: macroblock trees over a short lookahead, and motion to a quarter of a pixel by Hadamard
transforms. Narrower dead zones give back what trellis quantization would keep. At an equal CRF its films are about as large and as good as those of `faster` with
that lookahead, in half the time of the processor (docs/performance.md, x264's share).
"""
_LOOKAHEAD = "rc-lookahead=10"
"""A longer one holds 15 MB a frame at 2560x1920."""
_QUICK = f"{_LOOKAHEAD}:mbtree=1:subme=2:deadzone-inter=14:deadzone-intra=7"
SPEEDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
"""Presets of x264 itself, which x265 has too."""
PRESETS = (*SPEEDS, QUICK)
USUAL = "medium"
"""The preset of frames that are not large, where none is asked for."""
LARGE, ENLARGED = 3_000_000, 4
"""Pixels of a frame from which on it is large, and pixels that one of the source became for QUICK.

What was enlarged twice a side has no detail that small blocks and a second reference would find. Of films as they are, QUICK made 9 to 30% more bytes than `faster`.
"""


def options(crf: str, preset: str | None, pixels: int, before: int) -> dict[str, str]:
    """Return FFmpeg's options for a constant quality; without a preset by a frame's `pixels`, and those that it had `before`.

    Captions are put into the joined film, from the source's packets.
    """
    large = preset is None and pixels >= LARGE
    named = preset or (USUAL if not large else QUICK if pixels >= ENLARGED * before else "faster")
    own = f":{_QUICK}" if named == QUICK else f":{_LOOKAHEAD}" if large else ""
    return {
        "crf": crf,
        "preset": "superfast" if named == QUICK else named,
        "a53cc": "0",
        "x264-params": f"open-gop=0{own}",
    }


def preset_of(options: Mapping[str, str]) -> str:
    """Return the preset, one of PRESETS, that FFmpeg's options were made for."""
    return QUICK if _QUICK in options.get("x264-params", "") else options.get("preset", "")
