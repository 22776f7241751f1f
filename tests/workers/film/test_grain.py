"""Grain that is kept: its level and spectrum after enlarging, its exact sum with what is left, and frames without any."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from contract.film import Colour
from contract.job import Spec
from media.alpha import alpha_of
from testkit.film_damage import CLIPS, Amounts, damage, pan, still
from testkit.filtered import COLOUR, Pixels, frames, in_chunks, pixels, unfiltered, write_film
from workers.film.frame_marks import Clock
from workers.film.grain import Grain, GrainKeeper, enlarged
from workers.film.picture import Picture
from workers.film.pixel_layout import layout

SIZE = 120, 160


def parts(
    pictures: list[Pixels], pix_fmt: str = "yuv444p", share: float = 1.0
) -> tuple[list[av.VideoFrame], GrainKeeper]:
    """Return the frames without their grain, and the keeper of it."""
    keeper = GrainKeeper(share, COLOUR, Clock())
    return [frame for _, frame in keeper.filtered(frames(pictures, pix_fmt))], keeper


def power(field: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Power of a field in four bands, in cycles per picture height up to the Nyquist frequency of 120 lines."""
    height, width = field.shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * height) / SIZE[0]
    spectrum = np.abs(np.fft.fft2(field) / field.size) ** 2
    return np.array([spectrum[(radius >= low) & (radius < low + 0.125)].sum() for low in (0.0, 0.125, 0.25, 0.375)])


@pytest.mark.parametrize("name", ["still", "pan", "pan, crossed"])
def test_most_of_the_grain_is_taken_off(name: str) -> None:
    """A quarter of the grain or more is gone from what the network gets, and every frame has its record."""
    clip = damage(CLIPS[name](6, *SIZE), Amounts(grain=6), seed=3)
    calm, keeper = parts(clip.damaged)
    clean = unfiltered(clip.clean)
    left, before = (
        np.std([p.astype(float).mean(-1) - c.mean(-1) for p, c in zip(film, clean, strict=True)])
        for film in (pixels(enumerate(calm)), unfiltered(clip.damaged))
    )
    assert left < 0.75 * before
    assert len(keeper.found) == 6


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "nv12", "p010le", "yuv422p12le", "gbrp", "rgb24", "gray", "rgba", "yuva420p"]
)
def test_grain_and_what_is_left_are_the_frame(pix_fmt: str) -> None:
    """At the source's own size and with all of the grain, every format gets its own code values back, and its alpha."""
    grainy = damage(pan(4, 40, 60), Amounts(grain=6), seed=3).damaged
    calm, keeper = parts(grainy, pix_fmt)
    for n, frame in frames(grainy, pix_fmt):
        assert not Picture(calm[n]).equals(Picture(frame))
        back = keeper.put_back(n, calm[n])
        assert (back.format.name, back.height, back.width) == (pix_fmt, 40, 60)
        assert Picture(back).equals(Picture(frame))
        if pix_fmt in ("rgba", "yuva420p"):
            assert (alpha_of(back) == 255).all()


@pytest.mark.parametrize("times", [1.5, 2, 3, 4])
@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_level_and_spectrum_survive_enlarging(times: float, blur: float) -> None:
    """In cycles per picture height the power of grain stays within 15 % in level, and in each band."""
    made = damage([np.full((*SIZE, 3), 128, np.uint8)], Amounts(grain=8, grain_size=blur), seed=1).damaged[0]
    grain = made[..., 0].astype(np.float32) - 128
    larger = enlarged(grain.copy(), (int(SIZE[0] * times), int(SIZE[1] * times)))
    assert larger.std() == pytest.approx(grain.std(), rel=0.15)
    assert np.sqrt(power(larger)) == pytest.approx(np.sqrt(power(grain)), rel=0.15)


def test_the_share_weighs_the_grain() -> None:
    """Half of the grain is half of its deviation."""
    grainy = damage(still(3, *SIZE), Amounts(grain=8), seed=3).damaged
    calm, keeper = parts(grainy, share=0.5)
    level = [np.std(Picture(keeper.put_back(n, f)).luma() - Picture(f).luma()) for n, f in enumerate(calm)]
    assert level == pytest.approx([0.5 * found for found in keeper.found.values()], rel=0.05)  # type: ignore[operator]


@pytest.mark.parametrize("target", ["yuv420p", "yuv444p10le", "gbrp", "gray", "rgb48le"])
@pytest.mark.parametrize("source", ["yuv420p10le", "gbrp", "gray"])
def test_grain_reaches_every_model(source: str, target: str) -> None:
    """Grain of grey in one colour model is the same grain of grey in another one, at its depth."""
    grainy = damage(still(3, *SIZE), Amounts(grain=8), seed=3).damaged
    calm, keeper = parts(grainy, source)
    level = keeper.found[1]
    other = calm[1].reformat(format=target)
    added = Picture(keeper.put_back(1, other)).luma() - Picture(other).luma()
    assert np.std(added) == pytest.approx(level, rel=0.35)
    assert layout(target).name == target


def test_held_and_clean_frames_stay_what_they_are() -> None:
    """Runs of equal frames of any length stay equal, and a film without grain is not changed where it stands."""
    grainy = damage(pan(3, *SIZE), Amounts(grain=6), seed=3).damaged
    held = [picture for picture, times in zip(grainy, (2, 4, 7), strict=True) for _ in range(times)]
    calm, keeper = parts(held)
    for first, times in ((0, 2), (2, 4), (6, 7)):
        assert all(Picture(a).equals(Picture(b)) for a, b in pairwise(calm[first : first + times]))
        back = [keeper.put_back(n, calm[n]) for n in range(first, first + times)]
        assert all(Picture(a).equals(Picture(b)) for a, b in pairwise(back))
    drawn = [np.full((*SIZE, 3), 90, np.uint8)] * 5
    calm, keeper = parts(drawn)
    assert not keeper.found
    assert all(Picture(a).equals(Picture(b)) for a, (_, b) in zip(calm, frames(drawn), strict=True))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 33), (64, 8)])
def test_tiny_pictures_go_through(size: tuple[int, int]) -> None:
    """Pictures of a pixel are no error, and come back exactly."""
    grainy = damage([np.full((*size, 3), 100, np.uint8)] * 3, Amounts(grain=6), seed=3).damaged
    calm, keeper = parts(grainy, "yuv420p")
    for n, frame in frames(grainy, "yuv420p"):
        assert Picture(keeper.put_back(n, calm[n])).equals(Picture(frame))


def test_ranges_and_depths_are_kept() -> None:
    """Grain of limited range is stretched with the picture into full range."""
    keeper = GrainKeeper(1.0, COLOUR, Clock(), Colour("bt601", True), range(1))
    taken = Grain(layout("yuv420p"), {0: np.full((4, 4), 22, np.int8)})
    keeper._taken[0] = taken
    frame = av.VideoFrame(8, 8, "yuvj420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    luma = Picture(keeper.put_back(0, frame)).luma()
    assert luma[4, 4] == pytest.approx(22 * 255 / 219, abs=1)


@pytest.mark.slow
def test_a_film_keeps_its_grain(tmp_path: Path) -> None:
    """Without a network, a film that is parted and put together is the film; its record has the level of each frame."""
    clip = damage(pan(12, 64, 96), Amounts(grain=6), seed=2)
    source = write_film(tmp_path / "film.mkv", clip.damaged)
    done, found = in_chunks(source, Spec(model="identity", codec="ffv1", grain=1.0), 5, tmp_path / "kept")
    _, plain = in_chunks(source, Spec(model="identity", codec="ffv1"), 5, tmp_path / "plain")
    assert found == plain
    levels = [level for chunk in done.results for level in chunk.record["grain"]]  # type: ignore[attr-defined]
    assert len(levels) == 12
    assert min(levels) > 2
    half, other = in_chunks(
        source, msgspec.structs.replace(Spec(model="identity", codec="ffv1"), grain=0.5), 5, tmp_path / "half"
    )
    assert other != plain
    assert half.results[0].notes
