"""The pace of devices that were measured and published, for estimates where no job of the same kind has ended yet."""

from __future__ import annotations

from dataclasses import dataclass

FRAME = 640 * 480 / 1e6
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
    return Published(device, way, least / FRAME, most / FRAME, source)


@dataclass(frozen=True)
class Network:
    """Seconds that `device` takes for a frame of 640x480 through the network of `model` alone, four at a time."""

    device: str
    model: str
    seconds: float
    source: str


_WHOLE = "docs/performance.md, On a GPU: a whole film"
_PARTS = "docs/performance.md, On a GPU: the network alone, beside a whole film's encoding"
_ALONE = "docs/performance.md, On a GPU: the network alone"
NETWORKS = (
    Network("NVIDIA H200", "realesr-animevideov3", 0.000689, _ALONE),
    Network("NVIDIA H200", "RealESRGAN_x4plus_anime_6B", 0.00744, _ALONE),
    Network("NVIDIA H200", "RealESRGAN_x4plus", 0.0517, _ALONE),
)
"""The first two by Respool's own kernels for Hopper; the last was timed only as torch.compile makes it."""
_ANIME, _PHOTOGRAPH = 0.0156, 0.0517
"""Seconds of a frame as torch.compile makes the networks, which the films below were estimated with."""
PUBLISHED = (
    _of_frames("NVIDIA H200", "film: realesr-animevideov3 at 4x in x264", 0.042, 0.043, _WHOLE),
    _of_frames("NVIDIA H200", "film: RealESRGAN_x4plus_anime_6B at 4x in x264", 0.042, 0.042 + _ANIME, _PARTS),
    _of_frames("NVIDIA H200", "film: RealESRGAN_x4plus at 4x in x264", _PHOTOGRAPH, _PHOTOGRAPH + 0.042, _PARTS),
)
"""Of the large networks only the network alone was timed. Their films take at least as long as the slower of network and encoding,
which work at the same time, and at most as long as both one after the other."""
