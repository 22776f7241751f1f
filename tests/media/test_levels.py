"""Results beyond every level of their codec are named, with a way within it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from media.levels import beyond_levels


@pytest.mark.parametrize(
    ("codec", "size", "source", "rate", "words"),
    [
        ("x264", (15360, 8640), (1920, 1080), 25, "--scale 4.1 stays within it"),
        ("x265", (15360, 8640), (1920, 1080), 25, "HEVC level 6.2"),
        ("x264", (7680, 4320), (1920, 1080), 25, ""),
        ("ffv1", (15360, 8640), (1920, 1080), 25, ""),
        ("svtav1", (7680, 4320), (1920, 1080), 240, "up to 142 frames/s"),
    ],
)
def test_results_beyond_every_level(codec, size, source, rate, words) -> None:  # type: ignore[no-untyped-def]
    """1080p at -s 8 is beyond H.264's highest level; at -s 4 it is not."""
    found = beyond_levels(codec, size, source, Fraction(rate))
    assert (words in found) if words else not found
