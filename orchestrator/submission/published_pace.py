"""The pace of devices that were measured and published, for estimates where no job of the same kind has ended yet."""

from __future__ import annotations

from dataclasses import dataclass

_PIXELS = 640 * 480 / 1e6
"""Megapixels of a frame of those measurements."""


@dataclass(frozen=True)
class Published:
    """Seconds that `device` takes for a megapixel of the source that goes one `way` (`orchestrator.past_pace.way_of`), as a range."""

    device: str
    way: str
    least: float
    most: float
    source: str


def _of_frames(device: str, way: str, least: float, most: float, source: str) -> Published:
    return Published(device, way, least / _PIXELS, most / _PIXELS, source)


_WHOLE = "docs/performance.md, On a GPU: a whole film"
_PARTS = "docs/performance.md, On a GPU: the network alone, beside a whole film's encoding"
PUBLISHED = (
    _of_frames("NVIDIA H200", "film: realesr-animevideov3 at 4x in x264", 0.042, 0.043, _WHOLE),
    _of_frames("NVIDIA H200", "film: RealESRGAN_x4plus_anime_6B at 4x in x264", 0.042, 0.042 + 0.0156, _PARTS),
    _of_frames("NVIDIA H200", "film: RealESRGAN_x4plus at 4x in x264", 0.0517, 0.0517 + 0.042, _PARTS),
)
"""Of the large networks only the network alone was timed. Their films take at least as long as the slower of network and encoding,
which work at the same time, and at most as long as both one after the other."""
