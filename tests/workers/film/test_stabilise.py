"""Films that weave: brought back to the path of their shots, and untouched where nothing weaves."""

from __future__ import annotations

import av
import numpy as np
import pytest

from media.alpha import alpha_of
from testkit.film_damage import CLIPS, Amounts, Clip, damage, pan, shifted, still
from testkit.filtered import COLOUR, Pixels, filtered, unfiltered
from workers.film.frame_marks import Clock
from workers.film.stabilise import Stabiliser, motion

FRAMES = 40
WEAVE = Amounts(weave=0.6)
SIZE = 120, 160


def stabilised(pictures: list[Pixels], pix_fmt: str = "yuv444p") -> tuple[list[Pixels], Stabiliser]:
    one = Stabiliser(COLOUR, Clock())
    return filtered(one, pictures, pix_fmt), one


def left_over(clip: Clip, one: Stabiliser) -> float:
    """Root mean square of the change, from frame to frame, of a frame's shift: what was drawn, and what was moved back."""
    places = np.array([draw.shift for draw in clip.draws])
    moved = np.array([one.found.get(n, (0.0, 0.0)) for n in range(len(places))])
    return float(np.sqrt(np.square(np.diff(places + moved, axis=0)).mean()))


@pytest.mark.parametrize(("name", "part"), [("still", 0.2), ("pan", 0.2), ("confetti", 0.3), ("pan, crossed", 0.6)])
def test_weave_is_taken_out(name: str, part: float) -> None:
    """A fifth of it stays, more where something large crosses the picture, and still pictures are nearer to the clean ones."""
    clip = damage(CLIPS[name](FRAMES, *SIZE), WEAVE, seed=3)
    found, one = stabilised(clip.damaged)
    assert left_over(clip, one) < part * left_over(clip, Stabiliser(COLOUR, Clock()))
    if name == "still":
        clean, before = unfiltered(clip.clean), unfiltered(clip.damaged)
        inner = np.s_[4:-4, 4:-4]
        errors = [
            np.mean([np.square(p[inner].astype(float) - c[inner]).mean() for p, c in zip(q, clean, strict=True)])
            for q in (found, before)
        ]
        assert errors[0] < errors[1] / 2


def test_a_pan_by_parts_of_pixels_is_kept() -> None:
    """Weave goes from a slow pan, and its own motion stays."""
    clip = damage(pan(FRAMES, *SIZE, (0.7, 0.4)), WEAVE, seed=9)
    _, one = stabilised(clip.damaged)
    assert left_over(clip, one) < 0.2 * left_over(clip, Stabiliser(COLOUR, Clock()))
    assert np.abs(np.mean(list(one.found.values()), axis=0)).max() < 0.2


@pytest.mark.parametrize("name", sorted(CLIPS.keys() - {"pan, crossed"}))
def test_films_that_do_not_weave_are_untouched_to_the_bit(name: str) -> None:
    """Nothing moves in clean clips: stills, pans, fades, cuts, confetti, rain and titles."""
    clean = CLIPS[name](FRAMES, *SIZE)
    found, one = stabilised(clean)
    assert not one.found
    assert all(map(np.array_equal, found, unfiltered(clean)))


def test_a_thing_that_crosses_a_pan_moves_nothing_much() -> None:
    """While it is large, the motion of the picture is uncertain; no frame of the clean clip is moved by a tenth of a pixel."""
    _, one = stabilised(CLIPS["pan, crossed"](FRAMES, *SIZE))
    assert all(max(map(abs, shift)) < 0.1 for shift in one.found.values())  # type: ignore[call-overload]


def test_a_pan_that_begins_and_ends_is_meant() -> None:
    """The camera stands, moves and stands again: no frame is moved."""
    wide = pan(21, *SIZE, (2, 0))
    found, one = stabilised([wide[0]] * 20 + wide + [wide[-1]] * 20)
    assert len(found) == 61
    assert not one.found


@pytest.mark.parametrize("size", [(1, 1), (16, 400), (40, 20)])
def test_pictures_that_tell_no_motion_go_through(size: tuple[int, int]) -> None:
    """Tiny and flat pictures are left; without edges there is no motion."""
    flat, one = stabilised([np.full((*size, 3), 90, np.uint8)] * 10)
    assert len(flat) == 10
    assert not one.found
    assert motion(np.full((60, 60), 9, np.float32), np.full((60, 60), 12, np.float32)) is None


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "p010le", "gbrp", "rgba", "gray16le"])
def test_every_layout_of_pixels_is_moved(pix_fmt: str) -> None:
    """Every depth and arrangement."""
    clip = damage(still(20, 96, 128), WEAVE, seed=4)
    found, one = stabilised(clip.damaged, pix_fmt)
    assert len(one.found) > 15
    assert found[5].shape == (96, 128, 3)


def test_alpha_moves_along() -> None:
    """Alpha that weaves with its picture is brought back with it."""
    clip = damage(still(20, 96, 128), WEAVE, seed=4)
    clean = np.tile(127 + 100 * np.sin(np.arange(128) / 5), (96, 1))[..., None]
    woven = [np.rint(shifted(clean, *draw.shift)).astype(np.uint8) for draw in clip.draws]
    pictures = [np.concatenate(both, axis=-1) for both in zip(clip.damaged, woven, strict=True)]
    one = Stabiliser(COLOUR, Clock())
    made = one.filtered((n, av.VideoFrame.from_ndarray(picture, "rgba")) for n, picture in enumerate(pictures))
    found = [alpha_of(frame) for _, frame in made]
    inner = np.s_[4:-4, 4:-4]
    errors = [np.mean([np.square(a.squeeze()[inner] - clean[inner][..., 0]).mean() for a in q]) for q in (found, woven)]
    assert errors[0] < errors[1] / 2
