"""Dirty films: blotches of one frame are filled from its neighbours, and what moves is left."""

from __future__ import annotations

from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from media.alpha import alpha_of
from testkit.film_damage import CLIPS, FAST, Amounts, Clip, damage, pan
from testkit.filtered import COLOUR, Pixels, filtered, frames, unfiltered
from training.degrade.frame_draw import cover
from workers.film import spot_table
from workers.film.dirt import DirtFiller
from workers.film.frame_marks import Clock
from workers.film.picture import Picture

SIZE = 120, 160
DIRTY = Amounts(dust=4, grain=3)


def filled(pictures: list[Pixels], pix_fmt: str = "yuv444p") -> tuple[list[Pixels], DirtFiller]:
    one = DirtFiller(COLOUR, Clock())
    return filtered(one, pictures, pix_fmt), one


def under(clip: Clip, n: int) -> np.ndarray:
    """Pixels that dirt covers in a frame."""
    covered = [cover(speck, SIZE) > 0 for speck in clip.draws[n].specks]
    return np.any(covered, axis=0) if covered else np.zeros(SIZE, bool)


def errors(clip: Clip, pix_fmt: str = "yuv444p") -> tuple[float, float, float]:
    """Return the squared error under dirt before and after, and the part of the other pixels that changed."""
    made, _ = filled(clip.damaged, pix_fmt)
    base, truth = unfiltered(clip.damaged, pix_fmt), unfiltered(clip.clean, pix_fmt)
    before, after, other = [], [], []
    for n in range(2, len(made) - 2):
        mask = under(clip, n)
        near = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        before.append(np.square(base[n][mask].astype(float) - truth[n][mask]))
        after.append(np.square(made[n][mask].astype(float) - truth[n][mask]))
        other.append((np.abs(made[n].astype(int) - base[n]).max(-1) > 2)[~near].mean())
    return float(np.concatenate(before).mean()), float(np.concatenate(after).mean()), float(np.mean(other))


@pytest.mark.parametrize("name", ["still", "pan", "pan, crossed"])
def test_dirt_is_filled_and_nothing_else(name: str) -> None:
    """Under dirt the error falls by 8 dB, and under one in a hundred of the other pixels changes."""
    before, after, other = errors(damage(CLIPS[name](9, *SIZE), DIRTY, seed=5))
    assert after < before / 10**0.8
    assert other < 0.01


@pytest.mark.parametrize("name", sorted(CLIPS | FAST))
def test_clean_films_are_left(name: str) -> None:
    """Under one pixel in a thousand of clean clips is changed by more than two code values."""
    clean = (CLIPS | FAST)[name](9, 240, 320)
    found, _ = filled(clean)
    off = [np.abs(f.astype(int) - c).max(-1) > 2 for f, c in zip(found, unfiltered(clean), strict=True)]
    assert np.mean(off) < 0.001


def test_the_record_has_number_area_and_boxes() -> None:
    """Each changed frame lists its blotches; boxes lie where pixels changed, and cover all that did, with a rim of two pixels."""
    clip = damage(pan(7, *SIZE), DIRTY, seed=5)
    found, one = filled(clip.damaged)
    base = unfiltered(clip.damaged)
    assert one.found
    for n, (made, before) in enumerate(zip(found, base, strict=True)):
        number, area, boxes = one.found.get(n, one.unchanged)  # type: ignore[misc]
        assert number == len(boxes)
        assert area >= 3 * number
        changed = (made != before).any(-1)
        for left, top, width, height in boxes:
            assert changed[top : top + height, left : left + width].any()
            changed[max(0, top - 4) : top + height + 4, max(0, left - 4) : left + width + 4] = False
        assert not changed.any()


def test_held_frames_stay_held() -> None:
    """A dirty picture that is shown for two or three frames is filled once, in all of them."""
    clip = damage(pan(6, *SIZE), DIRTY, seed=5)
    held = [picture for picture, times in zip(clip.damaged, (2, 1, 3, 2, 1, 2), strict=True) for _ in range(times)]
    one = DirtFiller(COLOUR, Clock())
    made = [frame for _, frame in one.filtered(frames(held))]
    assert one.found
    for (a, before), (b, after) in pairwise(zip(made, held, strict=True)):
        assert Picture(a).equals(Picture(b)) == np.array_equal(before, after)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "p010le", "gbrp", "rgba", "yuva420p"])
def test_every_layout_of_pixels_is_filled(pix_fmt: str) -> None:
    """Every depth and arrangement: filled pixels are nearer to the clean ones, and alpha is kept."""
    clip = damage(pan(7, *SIZE), DIRTY, seed=5)
    before, after, _ = errors(clip, pix_fmt)
    assert after < before / 4
    if pix_fmt in ("rgba", "yuva420p"):
        made: list[av.VideoFrame] = [f for _, f in DirtFiller(COLOUR, Clock()).filtered(frames(clip.damaged, pix_fmt))]
        assert all((alpha_of(frame) == 255).all() for frame in made)


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (64, 8)])
def test_tiny_pictures_go_through(size: tuple[int, int]) -> None:
    """Pictures of a pixel are no error."""
    pictures = [np.full((*size, 3), 90 + 40 * (n == 3), np.uint8) for n in range(7)]
    found, _ = filled(pictures)
    assert len(found) == 7


def test_pixels_grow_the_same_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame with more pixels of spots than are handled at once is filled as any other."""
    clip = damage(pan(6, 120, 160), Amounts(dust=6.0, grain=4.0), seed=3)
    expected = filtered(DirtFiller(COLOUR, Clock()), clip.damaged)
    monkeypatch.setattr(spot_table, "AT_ONCE", 7)
    assert all(map(np.array_equal, filtered(DirtFiller(COLOUR, Clock()), clip.damaged), expected))
    assert not all(map(np.array_equal, expected, unfiltered(clip.damaged)))
