"""The check of what a result's frames show: moved frames are found, and what networks and codecs do is not called a fault."""

from __future__ import annotations

import numpy as np
import pytest

from media.likeness import GRID, SIZE
from orchestrator.witness.likeness_check import Stranger, strangers, unlike

FRAMES = 200


def film(frames: int = FRAMES, seed: int = 1) -> np.ndarray:
    """Draw coarse pictures of a film with a bright thing that wanders over a soft background: N x SIZE."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:GRID, 0:GRID]
    background = 60 + 60 * rng.random((GRID, GRID))
    moments = np.arange(frames)[:, None, None]
    thing = 90 * np.exp(-((x - 3.5 - 3 * np.sin(moments / 9)) ** 2 + (y - 3.5 - 3 * np.cos(moments / 7)) ** 2) / 3)
    return np.rint(background + thing).reshape(frames, SIZE).astype(np.uint8)


def restored(source: np.ndarray, seed: int = 2) -> np.ndarray:
    """Return what a network and a codec make of it: a little noise, other contrast, a lasting difference in one block."""
    rng = np.random.default_rng(seed)
    found = source * 0.97 + 4 + rng.normal(0, 0.7, source.shape)
    found[:, 11] += 7
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def test_a_restored_film_has_no_strangers() -> None:
    """Noise, contrast and a block that is always brighter are what restoring does."""
    source = film()
    assert strangers(source, restored(source)) == []


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 7])
def test_short_films_are_compared_too(frames: int) -> None:
    """Without enough neighbours for a middle value."""
    source = film(frames)
    assert strangers(source, restored(source)) == []


def test_frames_in_each_other_s_place_are_found() -> None:
    """Two neighbours where things move: both are named with what they show."""
    source = film()
    result = restored(source)
    result[[50, 52]] = result[[52, 50]]
    assert strangers(source, result) == [Stranger(50, 1, 52), Stranger(52, 1, 50)]


def test_exchanged_segments_are_found() -> None:
    """Thirty frames in the place of thirty others, and the words that a user reads."""
    source = film()
    result = restored(source)
    result[60:90], result[120:150] = result[120:150].copy(), result[60:90].copy()
    found = strangers(source, result)
    assert {n for s in found for n in range(s.first, s.first + s.count)} <= set(range(60, 90)) | set(range(120, 150))
    assert sum(s.count for s in found) > 45
    assert any("of the result show frames" in words for words in unlike(source.tobytes(), result.tobytes()))


def test_a_picture_from_nowhere_is_found() -> None:
    """One black frame, which resembles nothing in the film."""
    source = film()
    result = restored(source)
    result[77] = 16
    assert strangers(source, result) == [Stranger(77, 1, None)]
    assert unlike(source.tobytes(), result.tobytes()) == ["frame 77 of the result shows no picture of the source"]


def test_a_film_that_is_one_frame_late_throughout_is_found() -> None:
    """Every frame is the next one's: the difference is usual, and the likeness to another frame is what tells."""
    source = film()
    found = strangers(source[:-1], restored(source)[1:])
    assert sum(s.count for s in found if s.shown == s.first + 1) > FRAMES // 4


def test_a_fade_that_ends_lower_in_the_result_is_no_fault() -> None:
    """A network that darkens a whole scene by ten: every frame resembles a later one of the fade more than its own."""
    source = (film() * np.linspace(1, 0.2, FRAMES)[:, None]).astype(np.uint8)
    result = np.clip(source.astype(int) - 10 * (np.arange(FRAMES)[:, None] > 100), 0, 255).astype(np.uint8)
    assert strangers(source, result) == []


def test_flashes_and_cuts_are_no_fault() -> None:
    """Pictures that change at once in source and result alike."""
    source = film()
    source[40] = 235
    source[100:] = film(seed=9)[100:]
    assert strangers(source, restored(source)) == []


def test_a_still_film_hides_nothing_that_could_be_seen() -> None:
    """Frames of a still picture that changed places are the same picture."""
    source = np.repeat(film(1), FRAMES, axis=0)
    assert strangers(source, restored(source)) == []


def test_frames_far_into_a_long_film_are_found() -> None:
    """A film is looked at in stretches: a swap at the border of two, and one behind it."""
    source = film(20_000)
    result = restored(source)
    for n in (8191, 8200, 19_000):
        result[[n, n + 2]] = result[[n + 2, n]]
    found = {n for s in strangers(source, result) for n in range(s.first, s.first + s.count)}
    assert found <= {8191, 8193, 8200, 8202, 19_000, 19_002}
    assert len(found) >= 4


def test_a_sample_is_compared_as_far_as_it_goes() -> None:
    """A result of which only the beginning was decoded."""
    source = film()
    result = restored(source)[:60]
    result[[50, 52]] = result[[52, 50]]
    assert len(unlike(source.tobytes(), result.tobytes())) == 2
