"""Start of a worker's pool process up to its first frame, by stages: ``python -m benchmarks.speed.start_up [--model M] [--beside TREE]``.

Each round is a process of its own that does what a pool process does: imports, a client of S3, the import of what generators need
(which a worker does while it fetches its first chunk), the load of the generator, a frame and another one. What the first frame
took longer than the second is start-up, too. With `--beside` another checkout runs in turn with this one. Figures are medians.
The network is compiled and raced, and files are in the page cache, before the rounds that count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

_STAGES = ("process and worker", "generators' imports", "generator loaded", "first frame", "second frame")
_ROOT = Path(__file__).parents[2]


def child(arguments: argparse.Namespace) -> None:
    """Start as a pool process does; print (wall clock, processor time), in seconds, at the end of each stage as JSON."""
    import msgspec

    from contract.job import Spec
    from contract.settings import Settings
    from stores.storage import Storage
    from workers.runtime import process_env, worker
    from workers.runtime.job_cache import JobCache

    del worker  # a pool process imports it
    at = [(arguments.begun, 0.0)]

    def mark() -> None:
        times = os.times()
        at.append((time.monotonic(), times.user + times.system))

    process_env.configure()
    settings = Settings()
    cache = JobCache(settings, Storage(settings))
    mark()
    cache.preload()
    for thread in threading.enumerate():
        if thread.name == "preload":
            thread.join()
    mark()
    import torch

    from workers.generators.registry import load

    spec = msgspec.json.decode(arguments.spec, type=Spec)
    enhancer = load(spec, {spec.weights[0].sha256: arguments.weights}, settings)
    mark()
    width, height = map(int, arguments.size.split("x"))
    for seed in range(2):  # two frames that share nothing, so that none of the first is reused
        frame = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed))
        enhancer.frames(frame.to(enhancer.device), (height * enhancer.scale, width * enhancer.scale))
        mark()
    print(json.dumps(at))


def measure(tree: Path, fixed: list[str]) -> list[tuple[float, float]]:
    """Run one round with the code of `tree`; return (wall clock, processor time) of each stage in seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    # Not the kernel's time of the start: what that counts from is known to a whole second only. This clock is one for all processes.
    command = [sys.executable, "-P", __file__, *fixed, "--begun", str(time.monotonic())]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, cwd=tree)
    at = json.loads(done.stdout.splitlines()[-1])
    return [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(at)]


def main() -> None:
    """Run all rounds and print one table for each tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="the root of another checkout")
    parser.add_argument("--spec", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.spec:
        child(arguments)
        return
    import msgspec

    from benchmarks.speed.models import pinned
    from contract.job import Spec
    from contract.settings import Settings

    weights, path = pinned(arguments.model, Settings())
    spec = msgspec.json.encode(Spec(model=weights.name, weights=(weights,))).decode()
    fixed = ["--size", arguments.size, "--spec", spec, "--weights", str(path)]
    trees = [_ROOT, *([arguments.beside.resolve()] if arguments.beside else [])]
    runs: dict[Path, list[list[tuple[float, float]]]] = {tree: [] for tree in trees}
    for tree in trees:
        measure(tree, fixed)
    for _ in range(arguments.rounds):
        for tree in trees:
            runs[tree].append(measure(tree, fixed))
    for tree, found in runs.items():
        report(tree, found)


def report(tree: Path, found: list[list[tuple[float, float]]]) -> None:
    """Print the medians of all stages and of the whole start, without one frame."""
    print(f"{tree}, {len(found)} rounds\n\n| stage | s | CPU s |\n| --- | --- | --- |")
    for n, stage in enumerate(_STAGES):
        wall, cpu = (statistics.median(run[n][kind] for run in found) for kind in range(2))
        print(f"| {stage} | {wall:.2f} | {cpu:.2f} |")
    wall, cpu = (
        statistics.median(sum(stage[kind] for stage in run[:-1]) - run[-1][kind] for run in found) for kind in range(2)
    )
    print(f"| process to first frame, less one frame | {wall:.2f} | {cpu:.2f} |\n")


if __name__ == "__main__":
    main()
