"""One film through one command, measured from outside: ``python -m benchmarks.speed.end_to_end [--size WxH] [--frames N] [--model M] [-s S]``.

Starts an embedded cluster with one worker, runs `respool run` on a film made for it, and prints how long the first chunk
took from its first frame to its commit, frames a second, and peak memory (VmHWM) and CPU time of every process. Linux only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks.speed.process_monitor import Watch
from contract import settings
from orchestrator.job_store import Records
from orchestrator.local import start
from stores.storage import Storage
from testkit.natural_clips import make_moving


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("-s", "--scale", default="4")
    wanted = parser.parse_args()
    width, height = map(int, wanted.size.split("x"))
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film, out = make_moving(folder / "film.mp4", wanted.frames, (width, height)), folder / "out.mp4"
        began = time.monotonic()
        with start(replace(settings.load(), state=folder / "state"), workers=1) as cluster:
            ready = time.monotonic() - began
            seconds = watch.run(cluster, "run", str(film), "-o", str(out), "--model", wanted.model, "-s", wanted.scale)
            records = Records(Storage(cluster.settings))
            (job,) = records.jobs()
            plan = records.plan(job)
            assert plan is not None
            dones = list(records.dones(plan, range(len(plan.chunks))))
    print(f"load {os.getloadavg()[0]:.1f}; cluster ready in {ready:.1f} s; {len(dones)} chunks")
    whole = 0.0
    for done in sorted(dones, key=lambda d: bytes(d.record["started"])):
        stages = msgspec.json.decode(done.record["stages"], type=dict[str, float])
        took = msgspec.json.decode(done.record["seconds"], type=dict[str, float])
        whole += took["whole"] - took["load"]
        print(
            f"chunk {done.chunk}: {done.frames} frames; loading {took['load']:.2f} s, first frame decoded to commit "
            f"{stages['enhance'] + stages['store']:.2f} s"
        )
        record = msgspec.json.decode(done.record["film"])
        parts = ", ".join(f"{name} {spent:.1f}" for name, spent in record["seconds"].items())
        reason = msgspec.json.decode(done.record["reason"])
        print(f"    {parts} s; network busy {record['network_busy']:.0%}; {reason}")
    print(
        f"whole command {seconds:.1f} s, {wanted.frames / seconds:.2f} frames/s; in chunks {wanted.frames / whole:.2f} frames/s"
    )
    print(watch.lines())


if __name__ == "__main__":
    main()
