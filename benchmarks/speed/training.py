"""`python -m benchmarks.speed.training`: steps a second and memory of each stage and generator, with degradation, on this machine.

Each row is a process of its own. On a CPU, memory is the process's largest resident set; on a GPU it is what PyTorch allocated at most.
VGG19 gets random weights, on which time does not depend. Settings of a GPU: `--batch 12 --patch 64 --precision bf16`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import skimage.data
import torch
from safetensors.torch import save_file
from torchvision.models import vgg19  # type: ignore[import-untyped]

from contract.settings import Settings
from contract.training import Loss, Recipe, Run, Stage
from testkit.programs import command_of
from training import networks
from training.data.patches import Feed, Library
from training.data.selection import Selection
from training.data.sources import Source
from training.degrade.damage_file import GENERIC
from training.group import Group
from training.perceptual import Vgg, laplacian
from training.state import begin
from training.step import Stepper
from weights import catalog

CATALOG = {
    "realesr-animevideov3": "net gan",
    "realesr-general-x4v3": "net gan",
    "RealESRGAN_x4plus_anime_6B": "net gan",
    "RealESRGAN_x4plus": "net gan",
    "RealESRGAN_x2plus": "net",
}
"""Generators by the catalog's names, and the stages measured. Their parameters alone are taken: weights change no time."""


def main() -> int:
    """Print the table; return 1 when a row failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generators", nargs="+", default=list(CATALOG))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed, after one that is not")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--features", default="vgg19")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked, *asked.one)))
        return 0
    print(f"{asked.device}, {asked.threads} threads, batch {asked.batch}, patches of {asked.patch}, {asked.precision}")
    print("| generator | stage | steps/s | processor, s a step | of it degradation | memory, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    failed = 0
    for generator in asked.generators:
        for stage in CATALOG[generator].split():
            done = subprocess.run(
                command_of(__spec__, *sys.argv[1:], "--one", generator, stage),
                env={**os.environ, "OMP_NUM_THREADS": str(asked.threads), "OMP_WAIT_POLICY": "passive"},
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            failed += done.returncode != 0
            row = json.loads(done.stdout) if done.returncode == 0 else {}
            cells = (f"{row[key]:.{digits}f}" if row else "failed" for key, digits in _COLUMNS.items())
            print(f"| {generator} | {stage} | {' | '.join(cells)} |", flush=True)
    return 1 if failed else 0


_COLUMNS = {"steps_per_s": 2, "processor_s": 2, "degradation_s": 2, "memory_mib": 0}


def measure(asked: argparse.Namespace, generator: str, stage: Stage) -> dict[str, float]:
    """Train a few steps in this process and return what they cost."""
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    recipe = Recipe(
        stage=stage,
        batch=asked.batch,
        patch=asked.patch,
        precision=asked.precision,
        threads=asked.threads,
        sharpen=True,
        loss=Loss(features=asked.features),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, feed = _run_and_feed(generator, recipe, folder, Settings(cache=folder), device)
        judge = networks.discriminator(0).to(device) if stage == "gan" else None
        state = begin(networks.generator(run, None).to(device), judge, recipe)
        distance = None
        if stage == "gan":
            distance = Vgg(_random_vgg(folder)).to(device) if asked.features == "vgg19" else laplacian
        stepper = Stepper(recipe, state, Group(), device, distance)
        degraded = 0.0
        clock, processor = time.perf_counter(), time.process_time()
        for step in range(asked.steps + 1):
            if step == 1:
                degraded = 0.0
                clock, processor = time.perf_counter(), time.process_time()
            begun = time.process_time()
            batch = feed.batch(step, 0, 0)
            degraded += time.process_time() - begun
            assert stepper.step([batch], []).finite  # reads the losses, and so waits for the device
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
    on_card = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {
        "steps_per_s": asked.steps / clock,
        "processor_s": processor / asked.steps,
        "degradation_s": degraded / asked.steps,
        "memory_mib": on_card / 2**20 if on_card else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _run_and_feed(
    generator: str, recipe: Recipe, folder: Path, settings: Settings, device: torch.device
) -> tuple[Run, Feed]:
    """Make a run from scratch in the shape of a catalog's generator, on three pictures, and its patches."""
    entry = catalog.load(settings).find(generator)
    for name in ("astronaut", "coffee", "retina"):
        cv2.imwrite(str(folder / f"{name}.png"), getattr(skimage.data, name)()[:, :, ::-1])
    chosen = Selection(entry.scale, recipe.patch * entry.scale)
    chosen.add_clean([Source(str(path), path) for path in sorted(folder.glob("*.png"))])
    run = Run(
        id="0" * 16,
        name=generator,
        architecture=entry.architecture,
        parameters=entry.parameters,
        scale=entry.scale,
        parent=None,
        recipe=recipe,
        pictures=chosen.divided(),
        damage=GENERIC.plain(),
    )
    return run, Feed(run, Library(settings), device)


def _random_vgg(folder: Path) -> Path:
    file = folder / "vgg19.safetensors"
    save_file(vgg19(weights=None, init_weights=False).state_dict(), file)
    return file


if __name__ == "__main__":
    sys.exit(main())
