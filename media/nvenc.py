"""Encoders of NVIDIA cards (NVENC): what they take, and their options. Pure.

They are chosen by name alone, since not every machine has a card, and the cards for data centres without video (A100, H100, H200) have no
encoder. Sources: NVIDIA's NVENC application note (sizes, depths), FFmpeg's nvenc.c, nvenc_h264.c, nvenc_hevc.c and nvenc_av1.c (options).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract.errors import UsageError

if TYPE_CHECKING:
    from contract.job import Codec

PRESETS = tuple(f"p{n}" for n in range(1, 8))
"""Speeds, the fastest first."""
PRESET = "p5"


@dataclass(frozen=True)
class CardEncoder:
    """An encoder of a card. `quality` is our default for its option `cq`, and `instead` the codec that computes the same format on cores."""

    quality: float
    formats: tuple[str, ...]
    """Pixel formats that every card with this encoder takes. 4:4:4, 4:2:2 and H.264 of 10 bits are for some generations alone."""
    smallest: int
    """Pixels a side, of cards from Turing on; it is the least width, and the least height is smaller."""
    largest: int
    instead: Codec


ENCODERS: dict[Codec, CardEncoder] = {
    "h264_nvenc": CardEncoder(18, ("yuv420p",), 145, 4096, "x264"),
    "hevc_nvenc": CardEncoder(20, ("yuv420p", "yuv420p10le"), 129, 8192, "x265"),
    "av1_nvenc": CardEncoder(24, ("yuv420p", "yuv420p10le"), 128, 8192, "svtav1"),
}
_MEANT = {
    "Cannot load libcuda": "no NVIDIA driver is here",
    "Cannot load libnvidia-encode": "the driver's encoding library is missing; in a container, add video to NVIDIA_DRIVER_CAPABILITIES",
    "No capable devices found": "no card here has this encoder or can do what is asked of it; A100, H100 and H200 have none",
}
"""FFmpeg's words for what goes wrong, and ours."""
LAYOUTS = {"yuv420p10le": "p010le"}
"""The layout in which these encoders take the samples of a pixel format, where it is another."""


def options(codec: Codec, quality: str, preset: str) -> dict[str, str]:
    """Return FFmpeg's options for a constant quality; raise UsageError for 0, by which the encoder would choose its own.

    `b` is 0, or a bit rate would bound the quality. Captions are put into the joined film from the source's packets.
    """
    if float(quality) == 0:
        raise UsageError(
            f"--crf 0 lets {codec} choose a quality itself, and it has no lossless mode here; give --crf 1 or more, or "
            "--codec ffv1."
        )
    return {"rc": "vbr", "cq": quality, "b": "0", "preset": preset, "a53cc": "0"}


def explained(said: str) -> str:
    """Return FFmpeg's words about an encoder that cannot be used, with what they mean where that is known."""
    return next((f"{meaning} ({said})" for words, meaning in _MEANT.items() if words in said), said)
