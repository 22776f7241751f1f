"""The steps of `benchmarks/gpu_session.sh`: `python -m benchmarks.speed.gpu_session FOLDER`, or with ``--step NAME`` one of them."""

from __future__ import annotations

import argparse
import importlib.util
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import in_flight
from benchmarks.speed.models import timed_enhancer
from benchmarks.speed.stages import _GPU_SIZE, peaks
from contract.errors import UsageError
from contract.film import Colour
from contract.settings import Settings
from testkit.bounded_steps import SUMMARY, Step, run_steps
from testkit.programs import command_of
from workers.card import plane_trial
from workers.card.convolution import TILES, Kind, Tile
from workers.card.layer_trial import SAFE_DB, accuracy, example, seconds
from workers.card.pictures import Picture
from workers.card.plane_trial import Operands
from workers.card.planes import Shape, shapes
from workers.card.proof import Proofs, has_triton
from workers.generators.torch_backend import OFTEN

_CHARACTERS = 2000
_BATCHES = (1, 4)
"""A film's last frames, and a film worker's batch."""
_HALF = torch.float16
_KINDS = {
    "first 3-64": Kind((3,), 64, True, 0, False),
    "body 64-64": Kind((64,), 64, True, 0, False),
    "last 64-48": Kind((64,), 48, False, 0, False),
    "dense 64-32": Kind((64,), 32, True, 0, False),
    "dense 64+32-32": Kind((64, 32), 32, True, 0, False),
    "dense 64+64-32": Kind((64, 64), 32, True, 0, False),
    "dense 64+96-32": Kind((64, 96), 32, True, 0, False),
    "dense 64+128-64, residual": Kind((64, 128), 64, False, 1, False),
    "dense 64+128-64, residuals": Kind((64, 128), 64, False, 2, False),
    "doubling 64-64": Kind((64,), 64, True, 0, True),
    "last 64-3": Kind((64,), 3, False, 0, False),
}
"""Every kind of layer of animevideov3, anime_6B and x4plus."""
_MODELS = ("realesr-animevideov3", "RealESRGAN_x4plus_anime_6B", "RealESRGAN_x4plus")


def _card() -> torch.device:
    return torch.device("cuda")


def machine() -> None:
    """Print what is here: card, versions, and whether cuDNN's Python front end is installed."""
    found = {name: importlib.util.find_spec(name) is not None for name in ("triton", "cudnn", "cutlass", "tensorrt")}
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
    here = ", ".join(name for name, there in found.items() if there) or "no kernel language"
    print(f"{SUMMARY}{name}; torch {torch.__version__}, CUDA {torch.version.cuda}; {here}")


def measured_peaks() -> None:
    """Print TFLOP/s of large products, and the GB/s of a copy."""
    found = {precision: value / 1000 for precision, value in peaks(5).items()}
    source = torch.empty(2**31, dtype=torch.uint8, device=_card())
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / seconds(lambda: target.copy_(source), _card()) / 1e9
    print(f"{SUMMARY}{', '.join(f'{k} {v:.0f}' for k, v in found.items())} TFLOP/s; copy {copied:.0f} GB/s")


def pictures() -> None:
    """Print the trial of the colour kernels, and the microseconds of a frame of 2560x1920 both ways, PyTorch's passes and one pass."""
    from workers.film import card_colour, colour
    from workers.film.pixel_layout import layout

    with tempfile.TemporaryDirectory() as folder:
        outcome = Proofs(_card(), Path(folder)).outcome("workers.film.card_trial")
    print(f"{SUMMARY}trial {outcome}", flush=True)
    meaning, device = Colour(matrix="bt709", full=False), _card()
    height, width = _GPU_SIZE
    rgb = torch.rand((1, 3, 4 * height, 4 * width), device=device)
    frame = colour.from_rgb(rgb, "yuv420p", meaning)
    form = layout("yuv420p")
    picture = Picture(rgb[0])
    small = Picture(
        torch.rand((height, width, 48), device=device).half().permute(2, 0, 1),
        4,
        torch.rand((3, height, width), device=device).half(),
    )
    runs: dict[str, Callable[[], object]] = {
        "to RGB": lambda: colour.to_rgb(frame, meaning, device),
        "one pass": lambda: card_colour.to_rgb(frame, meaning, device),
        "planes": lambda: colour._planes(rgb, form, meaning, 0, 4 * height),
        "tail": lambda: card_colour.to_words(picture, form, meaning, False),
        "tail of a network": lambda: card_colour.to_words(small, form, meaning, True),
    }
    times = ", ".join(f"{name} {1e6 * seconds(run, device):.0f}" for name, run in runs.items())
    right = outcome is not None and outcome.get("right")
    print(f"{SUMMARY}right {right}; us a frame: {times}")


def layers() -> None:
    """Print the TFLOP/s of each kind of layer: the convolution alone, PyTorch's layer, cuDNN with ReLU, and the best Triton tile."""
    print("| layer | batch | convolution alone | PyTorch | cuDNN, ReLU | Triton | tile | dB |\n" + "| --- " * 8 + "|")
    torch.backends.cudnn.benchmark = True
    best: dict[str, str] = {}
    for name, kind in _KINDS.items():
        for batch in _BATCHES:
            try:
                row, gain = _layer_row(kind, batch)
            except (
                RuntimeError,
                MemoryError,
            ) as error:  # one shape that fails, such as for memory, is no reason to measure no other
                row, gain = f"failed: {str(error).splitlines()[0]}", 0.0
            print(f"| {name} | {batch} | {row} |", flush=True)
            if batch == 4:
                best[name] = f"{gain:.1f}"
        print(f"{SUMMARY}Triton to PyTorch at batch 4: {', '.join(f'{k} {v}' for k, v in best.items())}", flush=True)


def _layer_row(kind: Kind, batch: int) -> tuple[str, float]:
    """Return the columns of a layer's table, and how many times as fast as PyTorch the best Triton tile is."""
    device, size = _card(), (batch, *_GPU_SIZE)
    work = 2 * 9 * sum(kind.inputs) * kind.outputs * math.prod(size) / 1e12
    layer, operands = example(kind, None, device, size, _HALF)
    inputs = torch.randn((batch, sum(kind.inputs), _GPU_SIZE[0], _GPU_SIZE[1]), device=device, dtype=_HALF)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    alone = seconds(lambda: torch.nn.functional.conv2d(inputs, layer.weight, padding=1), device)
    one, two = [1, 1], [1, 1]
    fused = _attempt(
        lambda: seconds(
            lambda: torch.cudnn_convolution_relu(inputs, layer.weight, layer.bias, one, two, [1, 1], 1), device
        )
    )
    plain = seconds(lambda: layer.run(operands), device)
    times: dict[Tile, float] = {}
    for tile in TILES if has_triton() else ():
        made, operands = example(kind, tile, device, size, _HALF)
        times[tile] = _attempt(partial(seconds, partial(made.run, operands), device))
    best = min(times, key=times.__getitem__, default=None)
    took = times[best] if best is not None else math.inf
    near = accuracy(kind, best, device, (1, 37, 53)) if math.isfinite(took) else math.nan
    rates = [f"{work / s:.0f}" if math.isfinite(s) else "-" for s in (alone, plain, fused, took)]
    return f"{' | '.join(rates)} | {best} | {near:.0f}", plain / took


def planes() -> None:
    """Print the TFLOP/s of each kind of layer in each shape of Hopper's kernel that is right, four frames at a time."""
    device, best = _card(), []
    for name, kind in _KINDS.items():
        plain = plane_trial.plain(kind)
        work = 2 * 9 * sum(kind.inputs) * kind.outputs * 4 * math.prod(_GPU_SIZE) / 1e12
        _, operands = plane_trial.example(plain, shapes(plain)[0], device, (4, *_GPU_SIZE))
        times = {}
        for shape in shapes(plain):
            times[shape] = _attempt(partial(_plane_seconds, plain, shape, operands))
            rate = f"{work / times[shape]:.0f}" if math.isfinite(times[shape]) else "-"
            print(f"| {name} | {shape} | {rate} |", flush=True)
        best.append(f"{name} {work / min(times.values()):.0f}")
        print(f"{SUMMARY}TFLOP/s {', '.join(best)}", flush=True)


def _plane_seconds(kind: Kind, shape: Shape, operands: Operands) -> float:
    """Return the seconds of a run on `operands`; infinity where a small picture is not right to the trial's bound."""
    size = (2, 37, 53)
    layer, small = plane_trial.example(kind, shape, _card(), size)
    layer.run(*small)
    if not plane_trial.accuracy(kind, small, _card(), size) >= SAFE_DB:
        return math.inf
    return seconds(partial(layer.run, *operands), _card())


def _attempt(measure: Callable[[], float]) -> float:
    """Return the seconds of a way, and infinity where it cannot be compiled or run; the table has a dash there."""
    try:
        return measure()
    except Exception as error:  # whatever a compiler or cuDNN raises: its text is in the step's file
        print(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
        return math.inf


def networks() -> None:
    """Print for each model and backend the milliseconds of a frame in a batch of 4, its share of the peak, and dB against fp32.

    PyTorch's own in fp16 come last, as it compiles a network of many layers for minutes. Weights that are not here are random.
    """
    from testkit.natural_clips import photograph

    height, width = _GPU_SIZE
    rgb = torch.from_numpy(photograph(height, width)[:height, :width].copy()).permute(2, 0, 1)[None].float().div(255)
    batch = rgb.to(_card()).repeat(4, 1, 1, 1)
    top = peaks(3)["fp16"] * 1e9
    exact: dict[str, torch.Tensor] = {}
    said: list[str] = []
    ways = [(model, *way) for model in _MODELS for way in (("torch", "fp32"), ("fused", "fp16"))]
    for model, backend, precision in [*ways, *((model, "torch", "fp16") for model in _MODELS)]:
        try:
            row = _network_row(model, backend, precision, batch, exact, top)
        except (
            UsageError,
            RuntimeError,
            MemoryError,
        ) as error:  # a network that fails is no reason to measure no other
            row = f"failed: {(str(error).splitlines() or [repr(error)])[0][:40]}"
        print(f"{model} {backend} {precision} {row}", flush=True)
        if precision != "fp32" or row.startswith("failed"):
            said.append(f"{model[-12:]} {backend} {row}")
            print(f"{SUMMARY}{'; '.join(said)}", flush=True)


def _network_row(
    model: str, backend: str, precision: str, batch: torch.Tensor, exact: dict[str, torch.Tensor], top: float
) -> str:
    """Return a network's milliseconds a frame, its share of `top` FLOP/s, and dB against `exact`, where the first result goes."""
    which, loaded = timed_enhancer(model, replace(Settings(), backend=backend), precision=precision)
    made: Any = loaded
    result = made._network(batch).clamp(0, 1)
    off = float((result - exact.setdefault(model, result)).square().mean())
    compiled = backend == "torch" and precision == "fp16"
    for _ in range(OFTEN + 2 if compiled else 3):
        made._network(batch)
    once = seconds(partial(made._network, batch), _card(), 3) / len(batch)
    share = made.architecture.flops * batch.shape[2] * batch.shape[3] / once / top
    near = -10 * math.log10(off) if off else math.inf
    return f"{1000 * once:.2f} ms, {share:.0%}, {near:.0f} dB{', random weights' if which != 'its weights' else ''}"


def films() -> None:
    """Print a whole film with 1, 2 and 3 chunks in flight, by three presets of its encoder, beside upstream."""
    command = command_of(in_flight.__spec__, "--frames", 480, "--upstream-frames", 48, "--rounds", 2, "--seconds", 60)
    subprocess.run(command, check=True)


class _Counter:
    """A plugin of pytest that says after each test how many have passed and which have not."""

    def __init__(self) -> None:
        self._passed, self._others = 0, dict[str, str]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self._others[report.nodeid.rpartition("::")[2]] = report.outcome
        elif report.when == "call":
            self._passed += 1
        if report.when == "teardown":
            others = "".join(f"; {outcome}: {name}" for name, outcome in self._others.items())
            print(f"\n{SUMMARY}{self._passed} passed{others}", flush=True)


def tests() -> None:
    """Run the tests that need a card."""
    import pytest

    sys.exit(pytest.main(["-v", "-p", "no:cacheprovider", "tests/workers/generators/test_cuda.py"], [_Counter()]))


STEPS: dict[str, tuple[Callable[[], None], float, bool]] = {
    "machine": (machine, 60, False),
    "peaks": (measured_peaks, 60, True),
    "pictures": (pictures, 90, True),
    "networks": (networks, 240, True),
    "planes": (planes, 120, True),
    "layers": (layers, 180, True),
    "film": (films, 150, True),
    "tests": (tests, 150, True),
}
"""Each step's function, the seconds that it may take, and whether it needs a card."""


def _steps(names: Container[str]) -> Iterator[Step]:
    without = "" if torch.cuda.is_available() else "no CUDA device here"
    for name, (_, limit, needs_card) in STEPS.items():
        if name not in names:
            continue
        command = tuple(command_of(__spec__, "--step", name))
        yield Step(name, command, limit, without if needs_card else "")


def main() -> None:
    """Run one step, or all of them with what they print in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=570.0, help="that everything may take")
    parser.add_argument(
        "--only", nargs="+", choices=list(STEPS), default=list(STEPS), help="steps that are run, in their order"
    )
    parser.add_argument("--step", choices=list(STEPS), help="run this one here, for as long as it takes")
    arguments = parser.parse_args()
    if arguments.step:
        with torch.no_grad():
            STEPS[arguments.step][0]()
        return
    if arguments.folder is None:
        parser.error("name a folder for the tables")
    said = run_steps(list(_steps(arguments.only)), arguments.folder, arguments.seconds, _CHARACTERS)
    (arguments.folder / "summary.txt").write_text(said + "\n")
    print(said)


if __name__ == "__main__":
    main()
