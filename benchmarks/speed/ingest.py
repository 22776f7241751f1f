"""Cost of ingest and assembly: speed against real time, and memory for a minute and for two hours of film.

    python -m benchmarks.speed.ingest [--minutes 1 120] [--container mp4 mkv ts]

Each measurement runs in a process of its own with the heap settings of `orchestrator.sandbox.environment`. The long film
repeats ten encoded seconds packet by packet, so that its size and structure are real and it is made in seconds. Times
are CPU seconds. All its chunks are equal, so one is encoded and used for all. Prints one table row per film.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av

from benchmarks.speed.process_monitor import peak
from contract.documents import decode, encode
from contract.film import FilmIndex
from contract.job import Item, Spec
from orchestrator.assemble.film import assemble_film
from orchestrator.assemble.verify import verify_film
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.packet_runs import cut
from orchestrator.sandbox.environment import HEAP
from testkit.materials.recipe import x264
from testkit.materials.write import Film, Sound, write
from testkit.programs import command_of
from workers.film.chunk import film_stages
from workers.stages import finished

SECONDS, RATE, GOP = 10, 25, 50
FORMATS = {"mp4": "mp4", "mkv": "matroska", "ts": "mpegts"}


def long_film(path: Path, minutes: float, suffix: str, size: tuple[int, int]) -> None:
    """Write a film of `minutes` to `path`: ten seconds of picture and sound, repeated."""
    short = path.with_suffix(".short.mp4")
    base = Film("mp4", "libx264", x264(GOP), frames=SECONDS * RATE, size=size, sounds=(Sound("mp2"),))
    short.write_bytes(write(replace(base)))
    with av.open(str(short)) as source, av.open(str(path), "w", format=FORMATS[suffix]) as target:
        streams = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
        packets = [p for p in source.demux() if p.size]
        for loop in range(round(minutes * 60 / SECONDS)):
            for original in packets:
                packet = av.Packet(original.size)
                packet.update(bytes(original))
                shift = loop * Fraction(SECONDS) / original.time_base
                packet.pts = None if original.pts is None else original.pts + int(shift)
                packet.dts = None if original.dts is None else original.dts + int(shift)
                packet.time_base, packet.duration = original.time_base, original.duration
                packet.is_keyframe = original.is_keyframe
                packet.stream = streams[original.stream_index]
                target.mux(packet)
    short.unlink()


def measure(step: str, path: Path, folder: Path) -> dict[str, float]:
    """Run `step` (ingest or assemble) on the film at `path` in this process; ingest passes a document on, as in a job."""
    spec = Spec(model="identity", codec="x264", chunk_frames=SECONDS * RATE)
    document = folder / "index.json"
    began = time.process_time()
    with path.open("rb") as source:
        if step == "ingest":
            item = Item(0, "video", path.name, f"result{path.suffix}", "0" * 64, path.stat().st_size)
            index = plan_film(source, item, spec, 1)
            document.write_bytes(encode(index))
            planned = time.process_time()
            for run in cut(source, index):
                if not (folder / "run").exists():
                    (folder / "run").write_bytes(run)
            done = time.process_time()
            return {"plan": planned - began, "cut": done - planned, "memory": peak()}
        index = decode(document.read_bytes(), FilmIndex, document.name)
        out = folder / f"result{path.suffix}"

        def chunks() -> Iterator[BinaryIO]:
            for _ in index.chunks:
                with (folder / "chunk").open("rb") as file:
                    yield file

        assemble_film(index, spec, source, chunks(), out, 2)
        assembled = time.process_time()
        verify_film(out, index, spec, source)
        return {"assemble": assembled - began, "verify": time.process_time() - assembled, "memory": peak()}


def main() -> int:
    """Run the measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 120])
    parser.add_argument("--container", nargs="+", default=list(FORMATS))
    parser.add_argument("--step", nargs=3, metavar=("STEP", "FILM", "FOLDER"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.step:
        step, film, folder = wanted.step
        print(json.dumps(measure(step, Path(film), Path(folder))))
        return 0
    print("| container | minutes | size | ingest | x real time | ingest memory | assembly | verify | assembly memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for suffix in wanted.container:
        for minutes in wanted.minutes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                film = folder / f"film.{suffix}"
                long_film(film, minutes, suffix, (640, 480))
                found = [_step("ingest", film, folder)]
                spec = Spec(model="identity", codec="x264")
                finished(film_stages(folder / "run", spec, None, folder / "chunk", lambda *_: None))
                found.append(_step("assemble", film, folder))
                ingest = found[0]["plan"] + found[0]["cut"]
                print(
                    f"| {suffix} | {minutes:g} | {film.stat().st_size >> 20} MB | {ingest:.2f} s | {minutes * 60 / ingest:.0f} "
                    f"| {int(found[0]['memory']) >> 20} MB | {found[1]['assemble']:.2f} s | {found[1]['verify']:.2f} s "
                    f"| {int(found[1]['memory']) >> 20} MB |",
                    flush=True,
                )
    return 0


def _step(step: str, film: Path, folder: Path) -> dict[str, float]:
    command = command_of(__spec__, "--step", step, film, folder)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**HEAP, **os.environ})
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
