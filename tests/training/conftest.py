"""Small material and small runs for tests of training."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import skimage.data
import torch

from contract.settings import Settings
from contract.training import Loss, Recipe, Run, run_id
from stores.storage import Storage
from training import plan
from training.data.selection import Selection
from training.data.sources import Source
from training.degrade.damage_file import Damage
from training.degrade.ranges import Ranges, RoundRanges

PARAMETERS: dict[str, int | float | str | bool] = {
    "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2, "upscale": 2, "act_type": "prelu",
}  # fmt: skip
"""A network of 5,000 weights that enlarges twice."""


def fixed_damage(scale: int) -> Damage:
    """An anisotropic blur, noise of sigma 2 and JPEG 95, as one telecine might have."""
    first = RoundRanges(
        resize_probability=(0.0, 1.0, 0.0),
        resize=(1 / scale, 1 / scale),
        resamplings=("area",),
        shapes={"aniso": 1.0},
        kernel_sizes=(21,),
        sinc_probability=0.0,
        blur_sigma=(3.0, 3.0),
        blur_sigma_y=(1.2, 1.2),
        angle=(0.0, 0.0),
        gaussian_probability=1.0,
        gaussian_noise=(2.0, 2.0),
        grey_probability=0.0,
        jpeg=(95, 95),
    )
    return Damage(order=1, ranges=Ranges(first=first))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Sums of floats depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six small clean pictures."""
    folder = tmp_path_factory.mktemp("clean")
    pictures = {
        "astronaut": skimage.data.astronaut()[:200, 120:320],
        "coffee": skimage.data.coffee()[100:300, 200:400],
        "cat": skimage.data.chelsea()[60:260, 100:300],
        "rocket": skimage.data.rocket()[100:300, 200:400],
        "coins": skimage.data.coins()[50:250, 50:250],
        "camera": skimage.data.camera()[60:260, 120:320],
    }
    for name, pixels in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    return folder


@pytest.fixture
def small_run(clean: Path, settings: Settings) -> Callable[..., Run]:
    """Enter a small run from scratch in the store; keywords are fields of its recipe."""

    def make(name: str = "small", damage: Damage | None = None, **recipe: Any) -> Run:
        options = {
            "steps": 8,
            "batch": 2,
            "patch": 16,
            "threads": 1,
            "validate_every": 4,
            "checkpoint_every": 2,
        } | recipe
        options.setdefault("loss", Loss(features="laplacian"))
        chosen = Selection(2, 32)
        chosen.add_clean([Source(str(path), path) for path in sorted(clean.iterdir())])
        run = Run(
            id="0" * 16,
            name=name,
            architecture="srvgg",
            parameters=PARAMETERS,
            scale=2,
            parent=None,
            recipe=Recipe(**options),
            pictures=chosen.divided(),
            damage=(damage or fixed_damage(2)).plain(),
        )
        return plan.enter(msgspec.structs.replace(run, id=run_id(run)), Storage(settings))

    return make


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Processes that have the training modules loaded when they start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.rank", "training.conclude"])
    return context


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:256, 100:356])
