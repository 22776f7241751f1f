"""The machine's matrix peak, each network against it, each stage of a film: ``python -m benchmarks.speed.stages``.

The peak is a large product of two square matrices in PyTorch in the same precision. The best of a few seconds is
printed first; a network's share is of the best right before each of its runs, since neighbours on a host come and go.
On a matrix unit, the peak of its registers alone is printed too; code that reads memory cannot reach it. A network's
work counts its convolutions done directly, so a backend that needs fewer multiplications (Winograd needs a quarter)
can be above 100 %. On a machine with a GPU everything runs on it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.process_monitor import peak
from contract.errors import UsageError
from contract.settings import Settings
from testkit.natural_clips import make_moving, photograph
from testkit.programs import command_of
from workers.film.chunk import BATCH
from workers.generators.torch_backend import OFTEN
from workers.llvm import machine
from workers.runtime import process_env

SIZES = {
    "realesr-animevideov3": (480, 640),
    "RealESRGAN_x4plus_anime_6B": (192, 256),
    "RealESRGAN_x4plus": (120, 160),
}
"""Models and the (height, width) that they are timed at on a CPU: about two seconds of work on a slow machine."""
_GPU_SIZE = (480, 640)
"""Size at which all models are timed on a GPU, with a film worker's batch; small pictures do not fill a GPU."""
_ALONE = 10
"""Runs of the network alone before the film, and after it."""
_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Variables that keep OpenVINO's and PyTorch's kernels from AVX-512."""
_PEAK_S = 3.0
_SIDE = 2048
"""Rows of the matrices whose product is the peak; 4096 on a GPU."""


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _seconds(work: Callable[[], object], rounds: int, before: int = 1) -> list[float]:
    """Return the wall seconds of each of `rounds` runs after `before` runs that do not count."""

    def once() -> float:
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(before):
        once()
    return sorted(once() for _ in range(rounds))


def native_precisions() -> list[str]:
    """List the precisions that this machine multiplies in natively."""
    if torch.cuda.is_available():
        return ["fp32", "bf16", "fp16"]
    from workers.generators.openvino_backend import precisions

    return sorted(precisions(), reverse=True)


def products() -> dict[str, tuple[Callable[[], object], float]]:
    """Make a large matrix product in each precision, with its work in GFLOP."""
    found: dict[str, tuple[Callable[[], object], float]] = {}
    side = _SIDE * (2 if torch.cuda.is_available() else 1)
    for precision in native_precisions():
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        a, b = (torch.randn(side, side, device=_device()).to(kind) for _ in range(2))
        found[precision] = partial(torch.matmul, a, b), 2 * side**3 / 1e9
    return found


def peaks(rounds: int, precisions: Sequence[str] = ("fp32", "bf16", "fp16")) -> dict[str, float]:
    """Measure GFLOP/s of a large matrix product in each of the `precisions` that this machine has."""
    found = {}
    for precision, (product, work) in products().items():
        if precision not in precisions:
            continue
        once = _seconds(product, rounds)[0]
        found[precision] = work / min(once, _seconds(product, int(_PEAK_S / once) + 1, 0)[0])
    return found


@dataclass(frozen=True)
class _Way:
    """One way to run a network on `frames` frames, its times, and those of a matrix product right before each."""

    name: str
    precision: str
    frames: int
    run: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def networks(rounds: int, models: list[str], backends: list[str], precisions: list[str]) -> None:
    """Time each backend and precision of every model in turn, round by round.

    Prints the time of a frame, and its share of the fastest of ten products right before it.
    """
    known = {name: made for name, made in products().items() if name in precisions}
    if not known:
        sys.exit(f"this machine multiplies in {', '.join(native_precisions())}, and in none of {', '.join(precisions)}")
    print("| model, size | backend | s, median (lowest-highest) | ratio | GFLOP/s | share of peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in models:
        height, width = _GPU_SIZE if torch.cuda.is_available() else SIZES[model]
        ways, flops = _ways(model, height, width, backends, list(known))
        for _ in range(rounds):
            for way in ways:
                way.beside.append(_seconds(known[way.precision][0], 10)[0])
                way.seconds.extend(s / way.frames for s in _seconds(way.run, 1, 0))
        work = flops * height * width / 1e9
        base = statistics.median(ways[0].seconds)
        for way in ways:
            middle, product = statistics.median(way.seconds), known[way.precision][1]
            shares = [work / s / (product / b) for s, b in zip(way.seconds, way.beside, strict=True)]
            print(
                f"| {model} {width}x{height} | {way.name} {way.precision} "
                f"| {middle:.4f} ({min(way.seconds):.4f}-{max(way.seconds):.4f}) "
                f"| {base / middle:.2f} | {work / middle:.0f} | {statistics.median(shares):.0%} |",
                flush=True,
            )


def _frame(height: int, width: int) -> tuple[int, torch.Tensor]:
    """Return the batch of a film's worker here, and one frame of it: 1 x 3 x H x W on the device."""
    image = photograph(height, width)[:height, :width]
    rgb = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().div(255)
    return BATCH if torch.cuda.is_available() else 1, rgb.to(_device())


def _ways(model: str, height: int, width: int, backends: list[str], precisions: list[str]) -> tuple[list[_Way], float]:
    """List every way that this machine has, warmed up, and the network's operations per input pixel."""
    from benchmarks.speed.models import enhancer, upstream

    together, rgb = _frame(height, width)
    ways, flops = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        theirs: Any = upstream(model, Settings(), Path(folder))
    theirs.img = rgb.half() if theirs.half else rgb
    precision = "fp16" if theirs.half else "fp32"
    if precision in precisions:
        process = torch.no_grad()(theirs.process)
        ways.append(_Way("upstream, as it is", precision, 1, process))
        _seconds(process, 0)
    for backend in backends:
        for precision in precisions:
            try:
                _, loaded = enhancer(model, replace(Settings(), backend=backend), precision=precision)
            except UsageError:
                continue
            network: Any = loaded
            flops = network.architecture.flops
            run = partial(network._network, rgb.repeat(together, 1, 1, 1))
            ways.append(_Way(backend, precision, together, run))
            # A film's worker compiles for CUDA what comes often; the precision that it chooses is timed so.
            often = torch.cuda.is_available() and precision == "fp16"
            _seconds(run, 0, OFTEN + 1 if often else 1)
    return ways, flops


def alone(network: Any, size: tuple[int, int], before: int = 1) -> list[float]:
    """Return the seconds a frame of runs of an enhancer's network on a film's batch of `size` (width, height), after `before` others."""
    together, rgb = _frame(size[1], size[0])
    run = partial(network._network, rgb.repeat(together, 1, 1, 1))
    return [seconds / together for seconds in _seconds(run, _ALONE, before)]


def film(model: str, frames: int, size: tuple[int, int], fields: dict[str, Any], rounds: int) -> None:
    """Time a film's chunk by stage in the last of `rounds`, and print the network's busy share.

    Also prints seconds per frame, the network's alone in the same process right before and after each round, the film's
    share of that speed, and the memory of the process.
    """
    from benchmarks.speed.models import enhancer
    from testkit.materials.in_process import restore

    spec, loaded = enhancer(model, Settings(), scale=4.0, **fields)
    network: Any = loaded
    width, height = size
    wholes, alones, shares = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_moving(folder / "film.mp4", frames, size)
        before = alone(network, size, 2)
        for _ in range(rounds):
            network.forget()
            made = restore(source, "out.mp4", spec, folder, loaded)
            after = alone(network, size)
            record: Any = made.results[0].record
            wholes.append(record["wall"] / made.results[0].frames)
            alones.append(statistics.median(before + after))
            shares.append(alones[-1] / wholes[-1])
            before = after
    seconds = record["seconds"]
    stages = " | ".join(f"{seconds[s]:.2f}" for s in ("decode", "to_rgb", "network", "from_rgb", "encode"))
    whole, network_alone = (f"{statistics.median(v):.3f} ({min(v):.3f}-{max(v):.3f})" for v in (wholes, alones))
    print(
        f"| {made.results[0].frames} frames {width}x{height}, {model} x4{', ' + fields['preset'] if fields else ''} | {stages} "
        f"| {record['wall']:.2f} | {record['network_busy']:.0%} | {whole} | {network_alone} "
        f"| {statistics.median(shares):.0%} ({min(shares):.0%}-{max(shares):.0%}) | {peak() / 2**20:.0f} |"
    )


def _forget_avx512() -> None:
    """Make our own code for a processor without AVX-512, which one with it runs as well."""
    able = {name: has and not name.startswith("avx512") for name, has in machine.features().items()}
    machine.features = lambda: able


def main() -> None:
    """Run the measurements and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(SIZES))
    parser.add_argument("--backends", nargs="*", default=["torch", "openvino", "native", "winograd"])
    parser.add_argument("--precisions", nargs="*", default=["fp32", "bf16", "fp16"])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", help="of the film; the model's own, as above, unless said")
    parser.add_argument("--preset", help="of the film's encoder")
    parser.add_argument("--as-avx2", action="store_true", help="compute as on a processor without AVX-512, in fp32")
    parser.add_argument("--film", help=argparse.SUPPRESS)
    parser.add_argument("--peaks", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_avx2:
        arguments.precisions = ["fp32"]
        os.environ |= _AVX2
        _forget_avx512()
    if arguments.film:
        width, height = map(int, arguments.size.split("x"))
        fields = {"preset": arguments.preset} if arguments.preset else {}
        film(arguments.film, arguments.frames, (width, height), fields, arguments.rounds)
        return
    if not arguments.peaks:
        # A worker's memory settings are read when a process starts; a matrix product is faster without them.
        found = json.dumps(peaks(arguments.rounds, arguments.precisions))
        process_env.configure()
        os.execv(sys.executable, command_of(__spec__, *sys.argv[1:], "--peaks", found))
    found = json.loads(arguments.peaks)
    shown = ", ".join(f"{precision} {value:.0f} GFLOP/s" for precision, value in found.items())
    if not torch.cuda.is_available():
        from benchmarks.speed.matrix_unit import peak as registers

        unit = registers(20)
        shown += f" (matrix unit, registers alone: {unit:.0f})" if unit else ""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(
        f"{where}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; matrix peak {shown}; "
        f"{arguments.rounds} rounds\n"
    )
    networks(arguments.rounds, arguments.models, arguments.backends, arguments.precisions)
    if arguments.frames:
        columns = "decode, to RGB, network, from RGB, encode, wall, network busy, s a frame, network alone, share of its speed, peak MiB"
        print(f"\n| film | {columns.replace(', ', ' | ')} |\n| --- |{' --- |' * 11}", flush=True)
        for model in arguments.models:
            # In a process of its own, like a worker: its settings and its memory are its own.
            height, width = _GPU_SIZE if torch.cuda.is_available() else SIZES[model]
            command = command_of(__spec__, "--film", model, "--frames", arguments.frames)
            command += ["--rounds", str(arguments.rounds), "--size", arguments.size or f"{width}x{height}"]
            command += ["--preset", arguments.preset] if arguments.preset else []
            command += ["--as-avx2"] if arguments.as_avx2 else []
            subprocess.run(command, check=True)
    print(f"\nLoad at the end {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
