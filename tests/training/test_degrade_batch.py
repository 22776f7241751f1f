"""Degradation on the training device, film damage, and damage files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from contract.errors import UsageError
from training.degrade.apply import degrade
from training.degrade.batch import degrade_batch, shared
from training.degrade.codec import recode
from training.degrade.damage_file import GENERIC, Damage, read_damage, write_damage
from training.degrade.draw import Draw, FilmDraw, Noise
from training.degrade.film_damage import Aged, shifted
from training.degrade.ranges import FilmRanges, Ranges


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().float() / 255


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean().clamp_min(1e-12)))


def without_noise(drawn: Draw) -> Draw:
    still = tuple(
        msgspec.structs.replace(turn, noise=Noise("gaussian", 0.0, grey=False), jpeg=turn.jpeg and 90)
        for turn in drawn.rounds
    )
    return msgspec.structs.replace(drawn, rounds=still)


@pytest.mark.parametrize("seed", range(4))
def test_batches_are_degraded_as_pictures_are(seed: int, photo: np.ndarray) -> None:
    """Without noise, the batch on the device equals the single picture through OpenCV's JPEG at 33 dB or better."""
    drawn = without_noise(GENERIC.draw(seed))
    one = tensor(degrade(photo, drawn, 4))
    assert psnr(degrade_batch(tensor(photo), [drawn], 4), one) > 33


def test_a_patch_does_not_depend_on_its_neighbours_in_the_batch(photo: np.ndarray) -> None:
    """Three patches in one batch and each alone give the same code values: noise comes from each draw's own seed."""
    patches = tensor(photo).repeat(3, 1, 1, 1)[:, :, :128, :128].contiguous()
    draws = [GENERIC.draw(seed) for seed in (7, 8, 9)]
    together = degrade_batch(patches, draws, 4)
    alone = torch.cat([degrade_batch(patches[n : n + 1], [draws[n]], 4) for n in range(3)])
    assert float((together - alone).abs().max()) <= 1 / 255 + 1e-6
    assert torch.equal(together, degrade_batch(patches, draws, 4))
    assert torch.equal((together * 255).round() / 255, together)


def test_shared_draws_resize_alike_and_keep_their_own_noise(photo: np.ndarray) -> None:
    """`shared` gives all draws of a batch one path of resizes; kernels, noise and JPEG stay each draw's own."""
    draws = shared([GENERIC.draw(seed) for seed in range(5)])
    assert len({(turn.factor, turn.resampling) for drawn in draws for turn in drawn.rounds[:1]}) == 1
    assert len({drawn.rounds[0].jpeg for drawn in draws}) > 1
    assert len({drawn.seed for drawn in draws}) == 5


@pytest.mark.parametrize(
    ("kind", "lower"),
    [
        ("grain", 20),
        ("dust", 15),
        ("hairs", 15),
        ("offset", 10),
        ("scratches", 10),
        ("weave", 15),
        ("flicker", 10),
        ("chroma_bleed", 20),
        ("comb_shift", 15),
    ],
)
def test_each_film_damage_changes_the_picture_and_repeats(kind: str, lower: float, photo: np.ndarray) -> None:
    """Every kind of film damage alone changes the picture visibly, is bounded, and is equal for equal frames."""
    amounts = {
        "grain": 8.0,
        "dust": 400.0,
        "hairs": 400.0,
        "offset": 20.0,
        "scratches": 3.0,
        "weave": 0.6,
        "flicker": 0.1,
        "chroma_bleed": 4.0,
        "comb_shift": 1.5,
    }
    image = tensor(photo)[0]
    aged = Aged(FilmDraw(**{kind: amounts[kind]}), 5, 3)
    made = aged(image)
    assert lower < psnr(made, image) < 45
    assert torch.equal(made, aged(image))
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_fresh_noise_a_frame_and_one_draw_a_shot(photo: np.ndarray) -> None:
    """Frames of a shot have other grain but the same scratches."""
    flat = torch.full((3, 64, 200), 0.5)
    grain = [Aged(FilmDraw(grain=8.0), 1, frame)(flat) for frame in (0, 1)]
    assert psnr(grain[0], grain[1]) < 40
    scratched = [Aged(FilmDraw(scratches=3.0), 4, frame)(flat) for frame in (0, 1)]
    columns = [torch.nonzero((picture[0, 0] - 0.5).abs() > 0.1).flatten().tolist() for picture in scratched]
    assert columns[0]
    assert all(min(abs(a - b) for b in columns[1]) <= 1 for a in columns[0])


def test_grain_has_the_level_and_the_spectrum_that_were_drawn() -> None:
    """On mid grey the grain's deviation is its level; coarser grain has less of its power at high frequencies."""
    flat = torch.full((3, 128, 128), 0.5)
    fine = Aged(FilmDraw(grain=6.0), 1, 0)(flat) - flat
    coarse = Aged(FilmDraw(grain=6.0, grain_size=1.5), 1, 0)(flat) - flat
    for made in (fine, coarse):
        assert float(made.std() * 255) == pytest.approx(6.0, rel=0.05)
    high = [float(torch.fft.rfft2(made[0]).abs()[32:96, 32:].square().mean()) for made in (fine, coarse)]
    assert high[1] < high[0] / 20


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4", "libx264", "mjpeg"])
def test_codecs_lose_more_at_coarser_quantisers(codec: str, photo: np.ndarray) -> None:
    """Every codec gives back the picture's size, and less fidelity at a coarser quantiser."""
    image = tensor(photo)[:, :, :90, :70].contiguous()
    fine, coarse = (psnr(recode(image, codec, quantiser), image) for quantiser in (2, 24))
    assert recode(image, codec, 2).shape == image.shape
    assert fine > 30 > coarse - 5
    assert fine > coarse + 3


def test_shifts_move_by_whole_pixels_exactly(photo: np.ndarray) -> None:
    """A shift by a whole pixel is that pixel's value, away from the edges."""
    image = tensor(photo)[0]
    moved = shifted(image, 2, 1)
    assert torch.allclose(moved[:, 11:-10, 12:-10], image[:, 10:-11, 10:-12], atol=1e-4)


def test_a_damage_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """`read_damage` reads everything that `write_damage` writes: every range, film damage and notes."""
    film = FilmRanges(grain=(1.0, 3.0), codecs=("mpeg2video",), comb=0.5)
    for n, damage in enumerate((GENERIC, Damage(order=1, ranges=Ranges(film=film), notes=('a "quoted" note',)))):
        path = tmp_path / f"{n}.toml"
        write_damage(path, damage, ("a comment",))
        back = read_damage(path)
        assert back.draw(3) == damage.draw(3)
        assert back.notes == damage.notes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("order = 3", "order"),
        ("[ranges.first]\njpeg = [95, 30]", "jpeg"),
        ("[ranges.first]\njpeg = [0, 30]", "jpeg"),
        ("[ranges.first]\nshapes = { iso = 0.0 }", "shape"),
        ("[ranges.first]\nblurr = 1", "blurr"),
        ("this is no TOML", "damage file"),
    ],
)
def test_a_wrong_damage_file_is_refused_by_the_key(text: str, named: str, tmp_path: Path) -> None:
    """The error names the file and the key that is wrong."""
    path = tmp_path / "damage.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=named) as error:
        read_damage(path)
    assert str(path) in str(error.value)
