"""Presets of --for: the generator and options for a kind of material; and the generators that are defaults."""

from __future__ import annotations

from media.x264 import QUICK

AUTO = "auto"
"""In place of a model until the kinds of the sources are known; no job is submitted with it."""
FILM, PHOTOGRAPH, DRAWN = "realesr-animevideov3", "RealESRGAN_x4plus", "RealESRGAN_x4plus_anime_6B"
"""The defaults for films and for images, and the generator for drawn images (docs/decisions/0018)."""
PRESETS: dict[str, dict[str, str]] = {
    "photo": {"model": PHOTOGRAPH},
    "film": {"model": FILM},
    "anime": {"model": FILM},
    "fast": {"model": FILM},
}
"""Options that each preset sets, as `respool.cli` names them; those that a user gives go before."""
PACED = {"x264": QUICK, "x265": "veryfast"}
"""The encoder's preset that `fast` sets, for those that have one worth its bytes."""
