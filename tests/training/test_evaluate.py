"""`respool evaluate`: its metrics rank images correctly, and the command writes a table, a report and a contact sheet."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
import skimage.data

from contract.errors import BadInput, UsageError
from contract.settings import Settings
from orchestrator.cli.main import call
from training.evaluate import metrics
from training.evaluate.__main__ import evaluate, table


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "coffee.png"
    cv2.imwrite(str(path), skimage.data.coffee()[:240, :241, ::-1])
    return path


def test_more_noise_scores_worse() -> None:
    """An image equals itself; more noise is worse by every metric that has a reference."""
    clean = skimage.data.coffee()[:240, :240]
    rng = np.random.default_rng(0)
    little, much = ((clean + rng.normal(0, s, clean.shape)).clip(0, 255).astype(np.uint8) for s in (5, 25))
    assert metrics.psnr(clean, clean, 4) == math.inf
    assert metrics.ssim(clean, clean, 4) == pytest.approx(1)
    assert metrics.psnr(little, clean, 4) > metrics.psnr(much, clean, 4)
    assert metrics.ssim(little, clean, 4) > metrics.ssim(much, clean, 4)
    assert math.isfinite(metrics.niqe(clean, 4))
    assert math.isnan(metrics.niqe(clean[:100, :100], 4))


def test_baselines_are_measured_beside_every_model(picture: Path) -> None:
    """Each method has a score for each image at its full size, and the same seed gives the same scores."""
    report, page = evaluate([picture], ("identity",), 4, 3, 2, Settings(device="cpu"))
    again, _ = evaluate([picture], ("identity",), 4, 3, 2, Settings(device="cpu"))
    assert [score.method for score in report.scores] == ["bicubic", "lanczos", "identity"]
    assert [(s.psnr, s.ssim, s.niqe) for s in report.scores] == [(s.psnr, s.ssim, s.niqe) for s in again.scores]
    assert all(10 < (score.psnr or 0) < 60 for score in report.scores)
    assert report.draws.keys() == {"coffee.png"}
    assert page.shape[1] == 4 * 260
    assert "bicubic" in table(report)
    if report.scores[0].lpips is None:
        assert "LPIPS is omitted" in report.notes[0]


def test_invalid_input_is_refused(picture: Path, tmp_path: Path) -> None:
    """A scale out of range, a tiny image and a text file are refused by name."""
    settings = Settings(device="cpu")
    with pytest.raises(UsageError, match="scale is 9"):
        evaluate([picture], (), 9, 0, 2, settings)
    tiny = tmp_path / "tiny.png"
    pyvips.Image.black(20, 20).write_to_file(str(tiny))
    with pytest.raises(BadInput, match=r"tiny\.png is 20x20"):
        evaluate([tiny], (), 4, 0, 2, settings)
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    with pytest.raises(BadInput, match=r"text\.png"):
        evaluate([text], (), 4, 0, 2, settings)


@pytest.mark.slow
def test_the_commands_run_their_programs(picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`respool degrade` and `respool evaluate` write their files and return the exit code of their program."""
    assert call(["degrade", str(picture), "-o", str(tmp_path / "aged"), "-s", "2", "--order", "1"]) == 0
    assert json.loads((tmp_path / "aged" / "draws.json").read_text())[0]["copy"] == "coffee.png"
    assert call(["evaluate", str(picture), "-o", str(tmp_path / "eval"), "-m", "lanczos"]) == 0
    assert "lanczos" in capfd.readouterr().out
    assert (tmp_path / "eval" / "sheet.png").exists()
    assert len(json.loads((tmp_path / "eval" / "report.json").read_text())["scores"]) == 2
    assert call(["evaluate", str(tmp_path / "nothing.png"), "-o", str(tmp_path / "none")]) == 2
    assert "does not exist" in capfd.readouterr().err


def test_pairs_and_damage_files_take_the_place_of_the_paper_draws(tmp_path: Path) -> None:
    """With a damage file every copy has its damage; pairs are measured as they are, and a shifted one is left out by name."""
    from training.degrade.apply import degrade
    from training.degrade.damage_file import Damage
    from training.degrade.ranges import Ranges, RoundRanges

    mild = RoundRanges(blur_probability=0.0, gaussian_noise=(0.0, 0.0), gaussian_probability=1.0, jpeg_probability=0.0)
    damage = Damage(order=1, ranges=Ranges(first=mild))
    high, low = tmp_path / "high", tmp_path / "low"
    high.mkdir()
    low.mkdir()
    scenes = {"a": skimage.data.astronaut()[:240, 100:340], "b": skimage.data.coffee()[100:340, 200:440]}
    for name, pixels in scenes.items():
        pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).write_to_file(str(high / f"{name}.png"))
        copy = degrade(np.ascontiguousarray(pixels), damage.draw(1), 4)
        copy = np.roll(copy, 2, 1) if name == "b" else copy
        pyvips.Image.new_from_array(copy).write_to_file(str(low / f"{name}.png"))
    pictures = sorted(high.iterdir())
    drawn, _ = evaluate(pictures, (), 4, 0, 2, Settings(device="cpu"), damage)
    assert all(len(one.rounds) == 1 and one.rounds[0].jpeg == 0 for one in drawn.draws.values())
    paired, _ = evaluate(pictures, (), 4, 0, 2, Settings(device="cpu"), low=low)
    assert {score.picture for score in paired.scores} == {"a.png"}
    assert any("b.png is left out: shifted" in note for note in paired.notes)
