"""`python -m benchmarks.fidelity.training`: is a generator better on one damage after training on it, and only then?

Twelve pictures of scikit-image, of which three are held out by hash, and one fixed damage. `respool finetune` trains once on this damage and
once, as a control, on the generic damage of the paper; `respool evaluate` measures both and their parent on the held-out pictures
with the fixed damage. Time is that of the processor, of all processes, so that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import skimage.data

from contract.programs import Program, command_line
from contract.training import Record, Run
from testkit.known_damage import DAMAGE

PARENT = "realesr-animevideov3"
PICTURES = (
    "astronaut", "brick", "camera", "cat", "coffee", "coins", "gravel", "hubble_deep_field", "immunohistochemistry", "moon",
    "retina", "rocket",
)  # fmt: skip
MEAN_DB, WORST_DB, CONTROL_DB = 0.8, 0.3, 0.0
"""The own generator must gain so much in the mean and on each picture; the control at most this."""


@dataclass(frozen=True)
class Trained:
    """One call of `respool finetune`: its record, and the seconds of processor and clock that it took."""

    record: Record
    processor_s: float
    clock_s: float


def respool(*arguments: object) -> str:
    """Run the command line and return its output; exit with its complaint when it fails."""
    done = subprocess.run(
        command_line(Program.COMMAND_LINE, *arguments), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"respool {arguments[0]} ended with {done.returncode}")
    return done.stdout


def material(folder: Path) -> Path:
    """Write the clean pictures and the damage file; return the folder of the pictures."""
    clean = folder / "clean"
    clean.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        pixels = getattr(skimage.data, name)()
        rgb = np.repeat(pixels[:, :, None], 3, 2) if pixels.ndim == 2 else pixels[:, :, :3]
        cv2.imwrite(str(clean / f"{name}.png"), rgb[:, :, ::-1])
    (folder / "damage.toml").write_text(DAMAGE)
    return clean


def finetune(name: str, damage: object, folder: Path, options: list[str]) -> Trained:
    """Train, gate and register one generator."""
    before, begun = _spent(), time.monotonic()
    respool(
        "finetune", PARENT, "--clean", folder / "clean", "--damage", damage, "-o", name, "--licence", "CC0-1.0",
        "--force", *options, "--state", folder / "state",
    )  # fmt: skip
    spent, clock = _spent() - before, time.monotonic() - begun
    run = json.loads(respool("models", "show", name))["origin"].split()[2].rstrip(",")
    record = respool("training", "show", run, "--state", folder / "state")
    return Trained(msgspec.json.decode(record.encode(), type=Record), spent, clock)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def gains(names: list[str], run: Run, folder: Path) -> dict[str, dict[str, float]]:
    """Return, by generator and held-out picture, the PSNR over the parent's on the fixed damage, in dB."""
    held = [picture.name for picture in run.role("held")]
    wanted = [argument for name in (PARENT, *names) for argument in ("-m", name)]
    respool("evaluate", *held, "-o", folder / "scores", "--damage", folder / "damage.toml", "-s", 4, *wanted)
    scores = json.loads((folder / "scores" / "report.json").read_text())["scores"]
    psnr = {(score["method"], score["picture"]): float(score["psnr"]) for score in scores}
    pictures = [Path(name).name for name in held]
    return {name: {p: psnr[name, p] - psnr[PARENT, p] for p in pictures} for name in names}


def main() -> int:
    """Print the table; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--work", type=Path, default=Path("/tmp/respool-training"), help="folder for data and runs")
    asked = parser.parse_args()
    os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = str(asked.work / "home")
    material(asked.work)
    options = ["--steps", str(asked.steps)]
    own = finetune("own-damage", asked.work / "damage.toml", asked.work, options)
    control = finetune("generic-damage", "generic", asked.work, options)
    found = gains(["own-damage", "generic-damage"], own.record.run, asked.work)
    print(f"{asked.steps} steps, {own.record.run.recipe.threads} threads; gain over {PARENT} in dB on the fixed damage")
    print("| trained on | mean | worst | pictures | best step | training, s | processor, s | clock, s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, trained in (("own-damage", own), ("generic-damage", control)):
        each = found[name]
        mean, worst = sum(each.values()) / len(each), min(each.values())
        pictures = ", ".join(f"{Path(p).stem} {gain:+.2f}" for p, gain in each.items())
        record = trained.record
        print(
            f"| {name} | {mean:+.2f} | {worst:+.2f} | {pictures} | {record.best_step} | {record.seconds:.0f} "
            f"| {trained.processor_s:.0f} | {trained.clock_s:.0f} |"
        )
    own_gains, others = list(found["own-damage"].values()), list(found["generic-damage"].values())
    passed = (
        sum(own_gains) / len(own_gains) >= MEAN_DB
        and min(own_gains) >= WORST_DB
        and sum(others) / len(others) <= CONTROL_DB
    )
    print("passed" if passed else f"MISSED: wanted {MEAN_DB} mean, {WORST_DB} each, control at most {CONTROL_DB}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
