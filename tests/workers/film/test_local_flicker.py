"""Brightness that flickers in parts of a film's pictures: levelled where the picture lets it be followed, and nowhere else."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from contract.film import Colour
from testkit.film_damage import CLIPS, Amounts, damage, still
from testkit.filtered import COLOUR, Pixels, filtered, unfiltered
from workers.film.deflicker import Deflicker
from workers.film.frame_marks import Clock

FRAMES = 30
UNEVEN = Amounts(uneven=0.04, grain=3.0)


def deflickered(
    pictures: list[Pixels], pix_fmt: str = "yuv444p", colour: Colour = COLOUR
) -> tuple[list[Pixels], Deflicker]:
    one = Deflicker(colour, Clock())
    return filtered(one, pictures, pix_fmt), one


def pumping(pictures: list[Pixels], clean: list[Pixels]) -> float:
    """Root mean square of the change, from frame to frame, of how far parts are from the clean film's, beside the whole picture."""
    apart = []
    for picture, truth in zip(pictures, clean, strict=True):
        off = (picture.astype(np.float32) - truth).mean(-1)
        parts = cv2.resize(off, (8, 6), interpolation=cv2.INTER_AREA)
        apart.append(parts - parts.mean())
    return float(np.sqrt(np.mean([np.square(b - a).mean() for a, b in pairwise(apart)])))


@pytest.mark.parametrize(("name", "left"), [("still", 0.2), ("pan", 0.28), ("pan, crossed", 0.4)])
def test_parts_that_pump_are_levelled(name: str, left: float) -> None:
    """Of the pumping of a still a fifth is left, of that of pictures that move a fourth to a third, and each is nearer to the clean film."""
    clip = damage(CLIPS[name](FRAMES, 192, 256), UNEVEN, seed=3)
    found, one = deflickered(clip.damaged)
    clean, before = unfiltered(clip.clean), unfiltered(clip.damaged)
    assert pumping(found, clean) < left * pumping(before, clean)
    errors = [
        np.mean([np.square(p.astype(float) - c).mean() for p, c in zip(q, clean, strict=True)]) for q in (found, before)
    ]
    assert errors[0] < errors[1]
    assert all(local for _, _, local in one.found.values())  # type: ignore[misc, attr-defined]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "p010le", "yuv444p12le", "gbrp", "rgb24", "gray", "rgba"])
def test_every_layout_of_pixels_is_levelled(pix_fmt: str) -> None:
    """The pumping goes in films of every depth and arrangement."""
    clip = damage(still(FRAMES, 192, 256), UNEVEN, seed=4)
    found, _ = deflickered(clip.damaged, pix_fmt)
    clean = unfiltered(clip.clean, pix_fmt)
    assert pumping(found, clean) < 0.25 * pumping(unfiltered(clip.damaged, pix_fmt), clean)


def test_a_light_that_swings_slowly_is_meant() -> None:
    """A shadow that comes and goes over a second stays as it is."""
    across = np.cos(np.pi * np.arange(256) / 256)[None, :, None]
    swing = 0.08 * np.sin(2 * np.pi * np.arange(FRAMES) / 24)
    pictures = [
        np.clip(np.rint(p * 0.8 * (1 + s * across)), 0, 255).astype(np.uint8)
        for p, s in zip(still(FRAMES, 192, 256), swing, strict=True)
    ]
    found, _ = deflickered(pictures)
    off = [np.abs(f.astype(int) - p).max(-1) > 2 for f, p in zip(found, unfiltered(pictures), strict=True)]
    assert np.mean(off) < 0.001


def test_a_part_that_blinks_is_left() -> None:
    """A lamp in the picture that is switched on and off at random keeps its light, and the picture around it, too."""
    rng = np.random.default_rng(5)
    pictures = [p.copy() for p in still(FRAMES, 192, 256)]
    for picture in pictures:
        if rng.random() < 0.5:
            picture[60:120, 80:150] = np.minimum(picture[60:120, 80:150].astype(int) + 60, 255)
    found, _ = deflickered(pictures)
    off = [np.abs(f.astype(int) - p).max(-1) > 2 for f, p in zip(found, unfiltered(pictures), strict=True)]
    assert np.mean(off) < 0.001


def test_black_stays_black() -> None:
    """In limited range brightness changes above code value 16: bars beside a picture that pumps keep theirs."""
    clip = damage(still(FRAMES, 192, 256), Amounts(uneven=0.04), seed=3)
    for picture in clip.damaged:
        picture[:, :40] = picture[:, -40:] = 0
    found, one = deflickered(clip.damaged)
    assert one.found
    for picture in found:
        assert picture[:, :40].max() <= 1
