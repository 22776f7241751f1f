"""Where the time goes: ``python -m benchmarks.stages``. The machine's matrix peak, each network against it, each stage of a film.

The peak is that of a large product of two square matrices in PyTorch, in the precision: the best of a few seconds is said first, and
each network's share is of the best right before each of its runs, as neighbours on a host come and go. Where there is a matrix unit, what it does
with its registers alone is said too, which nothing reaches that reads memory. A network's work is what its convolutions cost when
they are done directly; a backend that needs fewer multiplications (Winograd's way needs a quarter) can therefore be above 100 %.
On a machine with a GPU everything runs on it.
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
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.moving import make_moving, photograph
from benchmarks.watch import peak
from contract.errors import UsageError
from contract.settings import Settings
from workers import host
from workers.film import BATCH
from workers.generators.torch_backend import OFTEN

SIZES = {
    "realesr-animevideov3": (480, 640),
    "RealESRGAN_x4plus_anime_6B": (192, 256),
    "RealESRGAN_x4plus": (120, 160),
}
"""Models and the (height, width) that they are timed at on a CPU: about two seconds of a slow machine's work."""
_GPU_SIZE = (480, 640)
"""What all models are timed at on a GPU, as many frames at once as a film's worker takes; small pictures do not fill it."""
_PEAK_S = 3.0
_SIDE = 2048
"""Rows of the matrices whose product is the peak; 4096 on a GPU."""


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _seconds(work: Callable[[], object], rounds: int, before: int = 1) -> list[float]:
    """Wall seconds of each of `rounds` runs after `before` that do not count."""

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
    """Precisions that this machine multiplies in by itself."""
    if torch.cuda.is_available():
        return ["fp32", "bf16", "fp16"]
    from workers.generators.openvino_backend import precisions

    return sorted(precisions(), reverse=True)


def products() -> dict[str, tuple[Callable[[], object], float]]:
    """A large matrix product in each precision, and its work in GFLOP."""
    found: dict[str, tuple[Callable[[], object], float]] = {}
    side = _SIDE * (2 if torch.cuda.is_available() else 1)
    for precision in native_precisions():
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        a, b = (torch.randn(side, side, device=_device()).to(kind) for _ in range(2))
        found[precision] = partial(torch.matmul, a, b), 2 * side**3 / 1e9
    return found


def peaks(rounds: int) -> dict[str, float]:
    """GFLOP/s of a large matrix product in each precision."""
    found = {}
    for precision, (product, work) in products().items():
        once = _seconds(product, rounds)[0]
        found[precision] = work / min(once, _seconds(product, int(_PEAK_S / once) + 1, 0)[0])
    return found


def _beside(
    work: Callable[[], object], product: Callable[[], object], rounds: int, before: int
) -> list[tuple[float, float]]:
    """Seconds of `work` in each round, and those of the fastest of ten products right before it: neighbours on the host come and go."""
    _seconds(work, 0, before)
    return [(_seconds(product, 10)[0], _seconds(work, 1, 0)[0])[::-1] for _ in range(rounds)]


def networks(rounds: int, models: list[str]) -> None:
    """Every backend and precision of every model: time of a frame, and share of what the product did right before it."""
    from benchmarks.weigh import enhancer, upstream

    known = products()
    print("| model, size | backend | s, median (lowest-highest) | ratio | GFLOP/s | share of peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in models:
        height, width = _GPU_SIZE if torch.cuda.is_available() else SIZES[model]
        together = BATCH if torch.cuda.is_available() else 1
        image = photograph(height, width)[:height, :width]
        rgb = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().div(255).to(_device())
        with tempfile.TemporaryDirectory() as folder:
            theirs: Any = upstream(model, Settings(), Path(folder))
        theirs.img = rgb.half() if theirs.half else rgb
        precision = "fp16" if theirs.half else "fp32"
        with torch.no_grad():
            rows = [("upstream, as it is", precision, 1, _beside(theirs.process, known[precision][0], rounds, 1))]
        for backend in ("torch", "openvino", "native"):
            for precision in known:
                try:
                    _, loaded = enhancer(model, replace(Settings(), backend=backend), precision=precision)
                except UsageError:
                    continue
                network: Any = loaded
                frames = rgb.repeat(together, 1, 1, 1)
                # A film's worker compiles for CUDA what comes often; the precision that it chooses is timed so.
                before = OFTEN + 1 if torch.cuda.is_available() and precision == "fp16" else 1
                run = partial(network._network, frames)
                rows.append((backend, precision, together, _beside(run, known[precision][0], rounds, before)))
        work = network.architecture.flops * height * width / 1e9
        base = statistics.median(seconds for seconds, _ in rows[0][3])
        for name, precision, count, pairs in rows:
            each = sorted(seconds / count for seconds, _ in pairs)
            middle = statistics.median(each)
            share = statistics.median(
                count * work / seconds / (known[precision][1] / product) for seconds, product in pairs
            )
            print(
                f"| {model} {width}x{height} | {name} {precision} | {middle:.4f} ({each[0]:.4f}-{each[-1]:.4f}) "
                f"| {base / middle:.2f} | {work / middle:.0f} | {share:.0%} |",
                flush=True,
            )


def film(model: str, frames: int, size: tuple[int, int], fields: dict[str, Any]) -> None:
    """Seconds of each stage of a film's chunks, and the network's busy share; then the memory of the process."""
    from benchmarks.materials.local import restore
    from benchmarks.weigh import enhancer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_moving(folder / "film.mp4", frames, size)
        spec, loaded = enhancer(model, Settings(), scale=4.0, **fields)
        made = restore(source, "out.mp4", spec, folder, loaded)
        record: Any = made.results[0].record
        seconds = record["seconds"]
        stages = " | ".join(f"{seconds[s]:.2f}" for s in ("decode", "to_rgb", "network", "from_rgb", "encode"))
        held = peak() / 2**20
        print(
            f"| {made.results[0].frames} frames {size[0]}x{size[1]}, {model} x4 | {stages} | {record['wall']:.2f} "
            f"| {record['network_busy']:.0%} | {held:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(SIZES))
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--preset", help="of the film's encoder")
    parser.add_argument("--film", help=argparse.SUPPRESS)
    parser.add_argument("--peaks", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.film:
        width, height = map(int, arguments.size.split("x"))
        film(
            arguments.film, arguments.frames, (width, height), {"preset": arguments.preset} if arguments.preset else {}
        )
        return
    if not arguments.peaks:
        # What workers ask of the machine is read when a process starts; a matrix product is faster without.
        found = json.dumps(peaks(arguments.rounds))
        host.ask()
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.stages", *sys.argv[1:], "--peaks", found])
    found = json.loads(arguments.peaks)
    shown = ", ".join(f"{precision} {value:.0f} GFLOP/s" for precision, value in found.items())
    if not torch.cuda.is_available():
        from benchmarks.matrix_unit import peak as registers

        unit = registers(20)
        shown += f" (matrix unit, registers alone: {unit:.0f})" if unit else ""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(
        f"{where}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; matrix peak {shown}; "
        f"{arguments.rounds} rounds\n"
    )
    networks(arguments.rounds, arguments.models)
    if arguments.frames:
        print("\n| film | decode | to RGB | network | from RGB | encode | wall | network busy | peak MiB |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for model in arguments.models if torch.cuda.is_available() else ["realesr-animevideov3"]:
            # In a process of its own, as a worker is one: what it asks of the machine, and its memory, are its own.
            command = [sys.executable, "-m", "benchmarks.stages", "--film", model, "--frames", str(arguments.frames)]
            command += ["--size", arguments.size, *(["--preset", arguments.preset] if arguments.preset else [])]
            subprocess.run(command, check=True)
    print(f"\nLoad at the end {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
