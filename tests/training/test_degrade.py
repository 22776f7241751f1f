"""The degradation: seeded, recorded, and of the right size and kind."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
import pyvips
import skimage.data
import torch

from contract.errors import BadInput, UsageError
from contract.programs import Program, command_line
from training.degrade.__main__ import run
from training.degrade.apply import degrade, kernel_values
from training.degrade.draw import Draw, Ranges, draw
from workers.shot_detection import is_cut, thumbnail


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:200, 120:360])


def test_equal_seeds_degrade_equally_and_different_ones_do_not(face: np.ndarray) -> None:
    """Only the seed determines the result, and the global random generators of numpy and torch do not advance."""
    before = torch.get_rng_state()
    first, again, other = (degrade(face, draw(seed), 2) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_draw_read_back_from_json_degrades_equally(face: np.ndarray) -> None:
    """An entry of draws.json is enough to make the same copy again."""
    drawn = draw(12)
    back = msgspec.json.decode(msgspec.json.encode(drawn), type=Draw)
    assert back == drawn
    assert np.array_equal(degrade(face, back, 2), degrade(face, drawn, 2))


def test_every_draw_lies_in_the_published_ranges() -> None:
    """400 draws stay in the paper's ranges, and together contain every kernel shape and both orders of the sinc filter."""
    ranges = Ranges()
    draws = [draw(seed) for seed in range(400)]
    for drawn in draws:
        for turn, bounds in zip(drawn.rounds, (ranges.first, ranges.second), strict=True):
            assert bounds.resize[0] <= turn.factor <= bounds.resize[1]
            assert bounds.jpeg[0] <= turn.jpeg <= bounds.jpeg[1]
            low, high = bounds.gaussian_noise if turn.noise.kind == "gaussian" else bounds.poisson_noise
            assert low <= turn.noise.amount <= high
            assert np.isclose(kernel_values(turn.blur).sum(), 1)
    shapes = {turn.blur.shape for drawn in draws for turn in drawn.rounds}
    assert len(shapes) == 8
    assert {drawn.sinc.shape for drawn in draws} == {"sinc", "pulse"}
    assert {drawn.sinc_first for drawn in draws} == {True, False}


@pytest.mark.parametrize("seed", range(6))
def test_sizes_and_kinds_are_kept(face: np.ndarray, seed: int) -> None:
    """A grey image stays grey (one channel), a colour image stays colour, and both are `scale` times smaller."""
    assert degrade(face, draw(seed), 2.5).shape == (80, 96, 3)
    assert degrade(face[:, :, 0].copy(), draw(seed, order=1), 4).shape == (50, 60)


def test_frames_of_a_shot_differ_in_noise_alone(face: np.ndarray) -> None:
    """Two frames of one shot get different noise of the same strength: their means agree."""
    first, second = (degrade(face, draw(3), 2, frame).astype(float) for frame in (0, 1))
    assert np.abs(first - second).mean() > 0.5
    assert abs(first.mean() - second.mean()) < 1


def test_invalid_arguments_are_refused(face: np.ndarray) -> None:
    """Invalid orders, seeds, scales and sizes are refused with their values."""
    with pytest.raises(UsageError, match="order is 3"):
        draw(1, order=3)
    with pytest.raises(UsageError, match="seed is -1"):
        draw(-1)
    with pytest.raises(UsageError, match="scale is 0"):
        degrade(face, draw(1), 0)
    with pytest.raises(BadInput, match="10x10"):
        degrade(face[:40, :40].copy(), draw(1), 4)


def test_a_cut_is_distinguished_from_motion(face: np.ndarray) -> None:
    """A frame moved by some pixels belongs to the same shot; another image does not."""
    moved = np.roll(face, 4, axis=1)
    other = np.ascontiguousarray(skimage.data.coffee()[:200, :240])
    assert not is_cut(thumbnail(face), thumbnail(moved))
    assert is_cut(thumbnail(face), thumbnail(other))


@pytest.mark.slow
def test_the_command_degrades_a_film_shot_by_shot_and_copies_its_sound(face: np.ndarray, tmp_path: Path) -> None:
    """Two shots give two draws; frame count and audio packets are the source's; an invalid file does not stop the others."""
    other = np.ascontiguousarray(skimage.data.coffee()[:200, :240])
    with av.open(str(tmp_path / "clean.mp4"), "w") as film:
        video = film.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = 240, 200, "yuv420p"
        audio = film.add_stream("aac", rate=48_000, layout="mono")
        for n, pixels in enumerate([face] * 4 + [other] * 4):
            picture = av.VideoFrame.from_ndarray(pixels, "rgb24")
            picture.pts, picture.time_base = n, Fraction(1, 24)
            film.mux(video.encode(picture))
        film.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 48_000, 0
        film.mux(audio.encode(sound))
        film.mux(audio.encode())
    (tmp_path / "bad.png").write_text("no picture")
    line = command_line(Program.DEGRADE, "clean.mp4", "bad.png", "-o", "aged", "-s", 2, "--seed", 4)
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "failed: bad.png" in done.stderr
    [entry] = json.loads((tmp_path / "aged" / "draws.json").read_text())
    assert len(entry["draws"]) == 2
    with av.open(str(tmp_path / "clean.mp4")) as clean, av.open(str(tmp_path / "aged" / "clean.mp4")) as aged:
        assert sum(1 for _ in aged.decode(video=0)) == 8
        aged.seek(0)
        assert aged.streams.video[0].width == 120
        packets = [[bytes(p) for p in f.demux(audio=0) if p.size] for f in (clean, aged)]
        assert packets[0] == packets[1]
    assert not list(tmp_path.rglob("*.part"))


def test_alpha_is_kept_and_noted(tmp_path: Path) -> None:
    """An image with alpha keeps four channels, and a note reports that alpha was not degraded."""
    cup = Path(__file__).parents[2] / "samples" / "media" / "photographs" / "cup.png"
    [entry], failed = run((cup,), tmp_path, seed=1, order=2, scale=2)
    assert not failed
    assert "alpha" in entry.notes[0]
    copy = pyvips.Image.new_from_file(str(tmp_path / "cup.png"))
    assert (copy.width, copy.height, copy.bands) == (80, 66, 4)
