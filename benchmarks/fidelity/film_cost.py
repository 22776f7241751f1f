"""Cost of filters over time: `python -m benchmarks.fidelity.film_cost` prints the table of docs/film-time.md.

A moving film with all damage goes through each filter, and through all of them, in a process of its own that allocates memory as a worker
does. The seconds are the processor's; the memory is what the process grows by while frames go through, its most less that of a process that only
passes them on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2

from contract.time_filters import TIME_FILTERS
from testkit.film_damage import Amounts, damage, pan
from testkit.filtered import COLOUR, frames
from testkit.programs import command_of
from workers.film.deflicker import Deflicker
from workers.film.dirt import DirtFiller
from workers.film.frame_marks import Clock
from workers.film.grain import GrainKeeper
from workers.film.picture import copied
from workers.film.scratches import ScratchFiller
from workers.film.stabilise import Stabiliser
from workers.film.steady import Steadier
from workers.film.time_filters import FrameFilter
from workers.runtime import process_env

AMOUNTS = Amounts(flicker=0.03, weave=0.5, scratches=2, dust=8, grain=4)
LOOP = 8
"""Different frames: to and fro, the picture moves from each to the next one."""
NAMES = [one.name for one in TIME_FILTERS]
MAKERS: dict[str, Callable[[], FrameFilter]] = {
    "deflicker": lambda: Deflicker(COLOUR, Clock()),
    "dirt": lambda: DirtFiller(COLOUR, Clock()),
    "scratches": lambda: ScratchFiller(COLOUR, Clock()),
    "stabilise": lambda: Stabiliser(COLOUR, Clock()),
    "grain": lambda: GrainKeeper(1.0, COLOUR, Clock()),
    "steady": lambda: Steadier(1.0, COLOUR, Clock()),
}


def main() -> int:
    """Print a row for each filter and one for all, or measure one of them in this process."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.film_cost", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--filters", nargs="*", default=[*NAMES, "all"], choices=[*NAMES, "all"])
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--alone", choices=[*NAMES, "all", "none"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        print(*_measured(asked.alone, asked.size[1], asked.size[0], asked.frames))
        return 0
    process_env.configure()
    none = _in_a_process("none", asked)
    print("| filter | processor time a frame, ms | memory, MB |")
    print("| --- | --- | --- |")
    for name in asked.filters:
        seconds, peak = _in_a_process(name, asked)
        print(f"| {name} | {1000 * (seconds - none[0]):.0f} | {(peak - none[1]) / 1e6:.0f} |", flush=True)
    return 0


def _in_a_process(name: str, asked: argparse.Namespace) -> tuple[float, float]:
    command = command_of(__spec__, "--alone", name, "--frames", asked.frames, "--size", *asked.size)
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    seconds, peak = out.stdout.split()
    return float(seconds), float(peak)


def _measured(name: str, height: int, width: int, count: int) -> tuple[float, float]:
    """Return the processor seconds of a frame, and the most bytes by which this process grew."""
    cv2.setNumThreads(1)
    film = [frame for _, frame in frames(damage(pan(LOOP, height, width), AMOUNTS, seed=2).damaged, "yuv420p")]
    filters = [MAKERS[one.name]() for one in TIME_FILTERS if name in (one.name, "all")]
    made: Iterator[tuple[int, av.VideoFrame]] = (
        (n, copied(film[LOOP - 1 - abs(n % (2 * LOOP - 2) - LOOP + 1)])) for n in range(count)
    )
    for one in filters:
        made = one.filtered(made)
    seconds, start, most = 0.0, _resident(), 0
    began = time.process_time()
    for n, frame in made:
        most = max(most, _resident() - start)
        if any(isinstance(one, GrainKeeper) for one in filters):
            seconds += time.process_time() - began
            larger = frame.reformat(width=4 * width, height=4 * height)
            began = time.process_time()
            for one in filters:
                one.put_back(n, larger)
    seconds += time.process_time() - began
    return seconds / count, float(most)


def _resident() -> int:
    """Return the bytes of memory of this process: its peak would be that of the making of the film."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
