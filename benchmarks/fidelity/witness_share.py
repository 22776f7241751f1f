"""Share of the witnesses in a job's CPU and wall time: ``python -m benchmarks.fidelity.witness_share [--model M ...]``.

One embedded cluster with one worker restores a film with each model. CPU of the witnesses is what they put on the job's
record, and the seconds in which workers make fingerprints; CPU of the job is that of all processes. Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from benchmarks.fidelity.witness_page import PAGE, put
from benchmarks.speed.process_monitor import Watch
from contract import keys, settings
from orchestrator.job_store import Records
from orchestrator.local import start
from orchestrator.result_record import from_lines
from stores.storage import Storage
from testkit.natural_clips import make_moving

HEADING = "Its share of a job"
FILMS = {"realesr-animevideov3": (640, 480, 60), "RealESRGAN_x4plus": (160, 120, 24)}
"""Width, height and frames of the film for each model: some minutes of work on two cores."""
BARS = {"realesr-animevideov3": 0.05, "RealESRGAN_x4plus": 0.01}
GPU = ("H200, animevideov3 640x480", 0.043, 0.26)
"""Wall and CPU seconds a frame of a film on a GPU, from docs/performance.md, for the model that is fastest there."""
_INTRO = """`python -m benchmarks.fidelity.witness_share` writes this table: one job a row, an embedded cluster with one worker. CPU seconds are the
kernel's, of all processes together, start-up included. "Beside the work" is the plain decode of the source, which runs niced while workers
enhance; "after it" reads the result before it is stored. The share of wall time is the most that it can be: the reading after the work in full,
and the CPU of the rest on all cores.

| film | frames | wall s | CPU s | fingerprints s | beside the work, CPU s | after it, CPU s | share of CPU | of wall time, at most | bar |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


@dataclass(frozen=True)
class Share:
    """One job: seconds, and those of the witnesses."""

    model: str
    size: str
    frames: int
    wall: float
    cpu: float
    fingerprints: float
    beside: float
    after: float

    @property
    def of_cpu(self) -> float:
        """Return the witnesses' share of the job's CPU seconds."""
        return (self.fingerprints + self.beside + self.after) / self.cpu

    @property
    def of_wall(self) -> float:
        """Return the most that their share of its wall time can be."""
        return ((self.fingerprints + self.beside) / (os.cpu_count() or 1) + self.after) / self.wall

    def row(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.model} {self.size} | {self.frames} | {self.wall:.0f} | {self.cpu:.0f} | {self.fingerprints:.2f} "
            f"| {self.beside:.2f} | {self.after:.2f} | {self.of_cpu:.2%} | {self.of_wall:.2%} | {BARS[self.model]:.0%} |"
        )


def measure(model: str, frames: int) -> Share:
    """Restore one film and read its record."""
    width, height, _ = FILMS[model]
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film, out = make_moving(folder / "film.mp4", frames, (width, height)), folder / "out.mp4"
        with start(replace(settings.load(), state=folder / "state"), workers=1) as cluster:
            wall = watch.run(cluster, "run", str(film), "-o", str(out), "--model", model, "-s", "4")
            storage = Storage(cluster.settings)
            records = Records(storage)
            (job,) = records.jobs()
            (record,) = from_lines(storage.get(keys.records(job)))
            plan = records.plan(job)
            assert plan is not None
            dones = list(records.dones(plan, range(len(plan.chunks))))
    stages = [msgspec.json.decode(done.record["film"])["seconds"] for done in dones]
    witness = record.details["witness"]
    return Share(
        model,
        f"{width}x{height}",
        frames,
        wall,
        watch.cpu_s,
        sum(found.get("fingerprint", 0.0) for found in stages),
        witness["cpu_s"],
        witness["result"]["cpu_s"],
    )


def computed(share: Share) -> str:
    """Return what the measured seconds a frame come to beside a GPU."""
    what, wall, cpu = GPU
    beside, after = (seconds / share.frames for seconds in (share.beside + share.fingerprints, share.after))
    return (
        f"Computed for a GPU ({what}: {wall:g} s and {cpu:g} CPU s a frame, [performance.md](performance.md)) from the first row: "
        f"{1000 * beside:.1f} ms a frame beside the work, which keeps up with {1 / beside:.0f} frames a second on one core where the GPU "
        f"makes {1 / wall:.0f}, and {1000 * after:.1f} ms after it: {(beside + after) / (cpu + beside + after):.1%} of the CPU, and "
        f"{after / wall:.0%} of the wall time on one core, less on more, since the result is decoded by several threads."
    )


def main() -> int:
    """Measure the models asked for; write the page when it is all of them. Exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity.witness_share", description=__doc__)
    parser.add_argument("--model", nargs="*", choices=[*FILMS], default=[*FILMS])
    parser.add_argument("--frames", type=int, default=0, help="of each film instead of the usual number")
    parser.add_argument("--page", type=Path, default=PAGE)
    wanted = parser.parse_args()
    shares = []
    for model in wanted.model:
        shares.append(measure(model, wanted.frames or FILMS[model][2]))
        sys.stdout.write(shares[-1].row() + "\n")
        sys.stdout.flush()
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end."
    gpu = computed(shares[0])
    sys.stdout.write(f"{load}\n{gpu}\n")
    if len(shares) == len(FILMS):
        put(wanted.page, HEADING, _INTRO + "\n".join(share.row() for share in shares) + f"\n\n{load}\n\n{gpu}")
    return int(any(share.of_cpu > BARS[share.model] for share in shares))


if __name__ == "__main__":
    sys.exit(main())
