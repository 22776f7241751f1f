"""Films whose brightness flickers: levelled within shots, the same in any chunks, and untouched where light is meant."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from testkit.film_damage import CLIPS, Amounts, damage, pan, still
from testkit.filtered import COLOUR, Pixels, filtered, unfiltered
from workers.film.deflicker import Deflicker
from workers.film.frame_marks import Clock

FRAMES = 40
FLICKER = Amounts(flicker=0.04, offset=2.0)


def deflickered(pictures: list[Pixels], pix_fmt: str = "yuv444p") -> tuple[list[Pixels], Deflicker]:
    one = Deflicker(COLOUR, Clock())
    return filtered(one, pictures, pix_fmt), one


def pumping(pictures: list[Pixels], clean: list[Pixels]) -> float:
    """Root mean square of the change, from frame to frame, of how far the mean brightness is from the clean film's."""
    apart = [float(p.mean() - c.mean()) for p, c in zip(pictures, clean, strict=True)]
    return float(np.sqrt(np.mean([(b - a) ** 2 for a, b in pairwise(apart)])))


@pytest.mark.parametrize("name", ["still", "pan", "pan, crossed", "confetti"])
def test_flicker_is_levelled(name: str) -> None:
    """A fifth of the pumping stays, and every clip is nearer to the clean one."""
    clip = damage(CLIPS[name](FRAMES, 96, 128), FLICKER, seed=3)
    found, one = deflickered(clip.damaged)
    clean, before = unfiltered(clip.clean), unfiltered(clip.damaged)
    assert pumping(found, clean) < 0.2 * pumping(before, clean)
    errors = [
        np.mean([np.square(p.astype(float) - c).mean() for p, c in zip(q, clean, strict=True)]) for q in (found, before)
    ]
    assert errors[0] < errors[1] / 2
    assert len(one.found) == FRAMES


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_clean_films_keep_their_light(name: str) -> None:
    """Fades, cuts, confetti, rain and titles: under one pixel in a thousand is more than two code values off."""
    clean = CLIPS[name](FRAMES, 96, 128)
    found, _ = deflickered(clean)
    off = [np.abs(f.astype(int) - c).max(-1) > 2 for f, c in zip(found, unfiltered(clean), strict=True)]
    assert np.mean(off) < 0.001


def test_light_that_is_switched_on_and_flashes_are_meant() -> None:
    """A lamp that goes on in the middle, and two flashes, stay as they are."""
    light = np.ones(FRAMES)
    light[20:] = 1.3
    light[[7, 31]] = 1.25
    clean = [np.clip(p * k * 0.7, 0, 255).astype(np.uint8) for p, k in zip(still(FRAMES, 96, 128), light, strict=True)]
    found, one = deflickered(clean)
    assert not one.found
    assert all(map(np.array_equal, found, unfiltered(clean)))


def test_a_fade_that_flickers_stays_a_fade() -> None:
    """Flicker goes, and the fade's own levels stay within two code values, but for the frames around its ends."""
    ramp = np.interp(np.arange(60), [15, 45], [0.9, 0.4])
    clean = [np.rint(p * k).astype(np.uint8) for p, k in zip(still(60, 96, 128), ramp, strict=True)]
    clip = damage(clean, Amounts(flicker=0.03), seed=5)
    found, _ = deflickered(clip.damaged)
    wanted = unfiltered(clean)
    apart = np.array([float(f.mean() - c.mean()) for f, c in zip(found, wanted, strict=True)])
    assert np.abs(apart[20:40]).max() < 2


def test_shots_are_levelled_apart() -> None:
    """Nothing of the brightness of a shot enters the next one."""
    dark = [(p // 3).astype(np.uint8)[::-1] for p in pan(20, 96, 128)]
    clip = damage(still(20, 96, 128) + dark, FLICKER, seed=8)
    found, _ = deflickered(clip.damaged)
    alone, _ = deflickered(clip.damaged[:20])
    assert all(map(np.array_equal, found[:20], alone))


def test_held_pictures_stay_held() -> None:
    """Flickering pictures that are held for three frames are levelled and stay equal to the bit within each hold."""
    clip = damage(still(14, 96, 128), FLICKER, seed=2)
    found, one = deflickered([picture for picture in clip.damaged for _ in range(3)])
    assert one.found
    for first in range(0, len(found), 3):
        assert np.array_equal(found[first], found[first + 1])
        assert np.array_equal(found[first], found[first + 2])


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "nv12", "p010le", "yuv444p12le", "gbrp", "rgb24", "gray", "rgba", "gray16le"]
)
def test_every_layout_of_pixels_is_levelled(pix_fmt: str) -> None:
    """The pumping goes in films of every depth and arrangement."""
    clip = damage(still(FRAMES, 48, 64), FLICKER, seed=4)
    found, _ = deflickered(clip.damaged, pix_fmt)
    clean = unfiltered(clip.clean, pix_fmt)
    assert pumping(found, clean) < 0.2 * pumping(unfiltered(clip.damaged, pix_fmt), clean)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 200)])
def test_tiny_pictures_go_through(size: tuple[int, int]) -> None:
    """Pictures of a pixel are no error."""
    found, _ = deflickered([np.full((*size, 3), 90 + 5 * (n % 2), np.uint8) for n in range(20)])
    assert len(found) == 20
