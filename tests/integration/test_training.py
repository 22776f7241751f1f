"""From an archive's damage to a generator that a job uses, through the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from safetensors.numpy import load_file

from contract.settings import Settings
from testkit.known_damage import DAMAGE
from weights import catalog
from weights.fetch import fetch
from workers.generators.registry import FAMILIES

Respool = Callable[..., subprocess.CompletedProcess[str]]

PICTURES = {
    "astronaut": lambda: skimage.data.astronaut()[:256, 100:356],
    "coffee": lambda: skimage.data.coffee()[100:356, 200:456],
    "cat": lambda: skimage.data.chelsea()[:256, 100:356],
    "rocket": lambda: skimage.data.rocket()[100:356, 200:456],
    "retina": lambda: skimage.data.retina()[500:756, 500:756],
    "tissue": lambda: skimage.data.immunohistochemistry()[:256, :256],
}


ONE = {"RESPOOL_THREADS": "1"}
"""More threads than free cores wait for each other at every sum."""


@pytest.fixture
def material(tmp_path: Path) -> list[str]:
    """A clean folder and a damage file, and the parent's weights in the cache of the test's home."""
    for name, pixels in PICTURES.items():
        (tmp_path / "clean").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "clean" / f"{name}.png"), pixels()[:, :, ::-1])
    (tmp_path / "damage.toml").write_text(DAMAGE)
    fetch(catalog.load(Settings()).find("realesr-animevideov3"), Settings())
    shutil.copytree(Settings().cache / "weights", tmp_path / "cache" / "respool" / "weights")
    return ["--clean", str(tmp_path / "clean"), "--damage", str(tmp_path / "damage.toml")]


def read(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path)))[:, :, ::-1]


@pytest.mark.timeout(3600)
def test_a_generator_is_fine_tuned_checked_and_used(respool: Respool, material: list[str], tmp_path: Path) -> None:
    """Thirty steps beat the parent by the gate's measure; a job runs the result by the native backend.

    The picture equals PyTorch's at 50 dB, and tiles equal the whole.
    """
    state = ["--state", str(tmp_path / "state")]
    options = ["-o", "ours", "--steps", "30", "--batch", "4", "--patch", "24", "--rate", "2e-4", "--licence", "CC0-1.0"]
    done = respool("finetune", "realesr-animevideov3", *material, *options, *state, env=ONE, timeout=1500)
    assert done.returncode == 0, done.stderr
    assert "ours is registered" in done.stderr
    again = respool("finetune", "realesr-animevideov3", *material, *options, *state, env=ONE, timeout=300)
    assert again.returncode == 0
    assert "step " not in again.stderr

    known = json.loads(respool("models", "show", "ours").stdout)
    assert known["entry"]["architecture"] == "srvgg"
    assert known["entry"]["licence"] == "BSD-3-Clause AND CC0-1.0"
    run = known["origin"].split()[2].rstrip(",")
    assert run in respool("training", "status", *state).stdout
    report = tmp_path / "report.html"
    assert respool("training", "report", run, "-o", report, *state).returncode == 0
    page = report.read_text()
    assert "The gate is passed" in page
    assert "http" not in page.replace("http-equiv", "").split("<pre>")[0]

    low = tmp_path / "low.png"
    cv2.imwrite(str(low), skimage.data.astronaut()[100:190, 150:250, ::-1])
    env = ONE | {"RESPOOL_BACKEND": "native"}
    for out, tile in (("whole.png", "512"), ("tiled.png", "40")):
        ran = respool("run", low, "-o", tmp_path / out, "-m", "ours", "--tile", tile, *state, env=env, timeout=600)
        assert ran.returncode == 0, ran.stderr
    whole, tiled = read(tmp_path / "whole.png"), read(tmp_path / "tiled.png")
    assert np.array_equal(whole, tiled)
    module = FAMILIES["srvgg"].module("ours", known["entry"]["parameters"], load_file(known["path"]))
    x = torch.from_numpy(np.ascontiguousarray(read(low))).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        expected = (module(x).clamp(0, 1) * 255)[0].permute(1, 2, 0).numpy()
    assert 10 * np.log10(255**2 / np.square(whole - expected).mean()) >= 50


@pytest.mark.timeout(1800)
def test_what_does_not_beat_its_parent_is_refused(respool: Respool, material: list[str], tmp_path: Path) -> None:
    """A run whose steps make nothing better is not registered, exits with 1, and says which rule failed; --force registers it."""
    state = ["--state", str(tmp_path / "state")]
    options = ["--steps", "2", "--batch", "1", "--patch", "16", "--rate", "1e-9", *state]
    done = respool("finetune", "realesr-animevideov3", *material, "-o", "same", *options, env=ONE, timeout=900)
    assert done.returncode == 1, done.stderr
    assert "FAILED: fidelity" in done.stderr
    assert respool("models", "show", "same").returncode == 2
    forced = respool(
        "finetune", "realesr-animevideov3", *material, "-o", "same", "--force", *options, env=ONE, timeout=900
    )
    assert forced.returncode == 0, forced.stderr
    assert "did NOT pass its gate" in json.loads(respool("models", "show", "same").stdout)["entry"]["notes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["finetune", "realesr-animevideov3", "-o", "x"], "give either --clean"),
        (["finetune", "realesr-animevideov3", "--clean", "c", "-o", "x"], "needs --damage FILE"),
        (["finetune", "realesr-animevideov3", "--pairs", "a", "b", "--damage", "d", "-o", "x"], "leave --damage out"),
        (
            ["finetune", "realesr-animevideov3", "--clean", "c", "--damage", "generic", "-o", "x", "--time", "soon"],
            "90s, 20m or 3h",
        ),
        (["train", "missing.toml"], "cannot be read"),
        (["training", "resume", "nonsense"], "not a training run's id"),
    ],
)
def test_wrong_command_lines_are_said_before_anything_starts(
    respool_here: Respool, arguments: list[str], said: str
) -> None:
    """Each ends with exit code 2 and one sentence."""
    done = respool_here(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
