"""The largest pictures that the levels of codecs allow, beyond which hardly any player goes.

Sources: ITU-T H.264 table A-1 and H.265 table A.8 (level 6.2), AV1 A.3 (level 6.3), VP9 levels (6.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contract.job import Codec


@dataclass(frozen=True)
class Level:
    """The highest level of a codec: luma samples a picture and a second, and samples a side."""

    name: str
    samples: int
    rate: int
    side: int


HIGHEST: dict[Codec, Level] = {
    "x264": Level("H.264 level 6.2", 139_264 * 256, 16_711_680 * 256, 16_880),
    "x265": Level("HEVC level 6.2", 35_651_584, 4_278_190_080, 16_888),
    "svtav1": Level("AV1 level 6.3", 35_651_584, 4_706_009_088, 16_384),
    "vp9": Level("VP9 level 6.2", 35_651_584, 4_706_009_088, 16_384),
}
HIGHEST |= {"h264_nvenc": HIGHEST["x264"], "hevc_nvenc": HIGHEST["x265"], "av1_nvenc": HIGHEST["svtav1"]}


def beyond_levels(codec: Codec, size: tuple[int, int], source: tuple[int, int], rate: Fraction) -> str:
    """Return a sentence about a result of `size` that no level allows, "" when one does. `source` is the film's size."""
    level = HIGHEST.get(codec)
    width, height = size
    if level is None:
        return ""
    if width * height > level.samples or max(size) > level.side:
        largest = min((level.samples / (source[0] * source[1])) ** 0.5, level.side / max(source))
        words = f"results of {width}x{height} are beyond {level.name}, the highest ({level.samples} pixels), so that few players show them"
        scale = int(largest * 10) / 10
        way = f"--scale {scale:g} stays within it, and " if scale >= 1 else ""
        return f"{words}; {way}--codec ffv1 knows no levels"
    if width * height * rate > level.rate:
        fits = level.rate / (width * height)
        return (
            f"results of {width}x{height} at {float(rate):.6g} frames/s are beyond {level.name}, the highest (up to "
            f"{fits:.0f} frames/s at that size), so that few players keep up; a smaller --scale or --codec ffv1 avoids it"
        )
    return ""
