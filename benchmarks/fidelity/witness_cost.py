"""Processor time of the witnesses beside a film's enhancing: `python -m benchmarks.fidelity.witness_cost [--write]`.

A moving photograph of 640x480 is restored in one process without witnesses; then its source and its result are decoded as
the witnesses do. Processor time counts all threads, so other work on the machine changes little. `--write` puts the
table into docs/witness.md.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

from benchmarks.fidelity.witness_page import PAGE, put
from benchmarks.speed.models import enhancer
from contract.job import Codec, Spec
from contract.settings import Settings
from orchestrator.witness.result_reading import read_result
from orchestrator.witness.source_reading import read_source
from testkit.materials.in_process import restore
from testkit.natural_clips import make_moving
from workers.generators.registry import load
from workers.runtime import process_env

SIZE = (640, 480)
ROWS: tuple[tuple[str, Codec], ...] = (
    ("realesr-animevideov3", "x264"),
    ("lanczos", "x264"),
    ("lanczos", "x265"),
    ("lanczos", "ffv1"),
)
"""A network once: the result's codec decides what it costs to read, not what made its frames."""
FAST = 100.0
"""Frames a second of a GPU, for the column about one."""
HEAD = """`python -m benchmarks.fidelity.witness_cost --write` writes this table: milliseconds of processor time a frame, {frames} frames of
{width}x{height}, enlarged four times, one process. The last column is about a GPU that makes {fast:.0f} frames a second: the seconds that reading the
result takes for each minute of enhancing, with one processor. It runs after the enhancing, and with n processors takes an n-th of that;
with few processors beside a fast GPU it is dear, and `--witness sample` is for that. FFV1 is the dearest to decode: beside the network of the
first row it would be 4 to 5% of the job.

| model | codec | the job without witnesses | source's witness | result's witness | share of both | seconds a minute, on a GPU |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
"""


def measured(model: str, codec: Codec, frames: int, folder: Path) -> tuple[float, float, float]:
    """Return the seconds of processor time of a job without witnesses, and of each witness."""
    generator: object
    options = Spec(model=model, codec=codec, scale=4.0, chunk_frames=frames, witness="off")
    if model == "lanczos":
        spec, generator = options, load(options, {}, Settings())
    else:
        spec, generator = enhancer(model, Settings(), codec=codec, scale=4.0, chunk_frames=frames, witness="off")
    film = make_moving(folder / "film.mp4", frames, SIZE)
    began = time.process_time()
    done = restore(film, "result.mkv", spec, folder, generator)
    job = time.process_time() - began
    with film.open("rb") as file:
        source = read_source(file, done.index, "full", film.name, lambda: None)
    reading = read_result(io.BytesIO(done.data), "result.mkv")
    assert reading.films[0].frames == source.frames == frames
    return job, source.cpu_s, reading.cpu_s


def main() -> None:
    """Measure each row, print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    process_env.configure()  # as a worker does
    frames: int = arguments.frames
    table = HEAD.format(frames=frames, width=SIZE[0], height=SIZE[1], fast=FAST)
    for model, codec in ROWS:
        with tempfile.TemporaryDirectory() as name:
            job, source, result = (1000 * s / frames for s in measured(model, codec, frames, Path(name)))
        share = (source + result) / (job + source + result)
        waited = result / 1000 * FAST * 60
        table += f"| {model} | {codec} | {job:.0f} | {source:.1f} | {result:.1f} | {share:.2%} | {waited:.0f} |\n"
        print(table.splitlines()[-1], flush=True)
    if arguments.write:
        put(PAGE, "What reading the result costs", table)


if __name__ == "__main__":
    main()
