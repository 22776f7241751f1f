"""Throughput of an embedded cluster that grows from 1 to 4 workers and back in the middle of one job.

    python -m benchmarks.speed.elasticity [--seconds 2.0] [--chunks 10]

Each chunk sleeps for `--seconds` on top of its work: that stands for a GPU, of which every worker has its own, so that two
cores can show four workers. Each phase is timed from commit to commit over `--chunks` chunks a worker. At the end
every frame is held against the source (the job is `identity`), and no attempt may have failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.local import scale
from testkit import cluster as rigs
from testkit.cluster import Rig, rig
from testkit.processes import until

PHASES = (1, 4, 1)
_PATIENCE_S = 300.0


def phase(r: Rig, job: str, workers: int, chunks: int) -> float:
    """Scale to `workers`, and measure chunks a second over `chunks` commits, once all of them work."""
    scale(r.settings, workers)
    until(lambda: len(r.ledger.workers()) == workers, f"{workers} heartbeats", _PATIENCE_S)
    if workers > 1:  # all have a chunk; with one worker, the job never paused
        until(lambda: (c := r.ledger.counts(job)) and c.running == workers, f"{workers} workers at work", _PATIENCE_S)
    first = _done(r, job)
    until(lambda: _done(r, job) > first, "a commit", _PATIENCE_S)
    first, began = _done(r, job), time.monotonic()
    until(lambda: _done(r, job) >= first + chunks, f"{chunks} chunks", _PATIENCE_S)
    return (_done(r, job) - first) / (time.monotonic() - began)


def _done(r: Rig, job: str) -> int:
    counts = r.ledger.counts(job)
    return counts.done if counts else 0


def main() -> int:
    """Print a table; 1 when a frame differs or an attempt failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.elasticity", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a chunk sleeps")
    parser.add_argument("--chunks", type=int, default=10, help="chunks a worker that a phase measures")
    options = parser.parse_args()
    frames = rigs.SPEC.chunk_frames * sum(workers * (options.chunks + 4) for workers in PHASES)
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        film = rigs.film(folder, frames)
        fault = f"slow-{options.seconds}"
        with rig(folder, workers=1, fault=fault, lease_ttl_s=30.0, lease_renew_s=2.0, device="cpu") as r:
            job = r.submit(film)
            until(lambda: _done(r, job) >= 1, "the first chunk", _PATIENCE_S)
            print(
                f"{frames // rigs.SPEC.chunk_frames} chunks, each asleep for {options.seconds:g} s\n\n| workers | chunks/s | of the first |"
            )
            print("| --- | --- | --- |")
            rates: list[float] = []
            for workers in PHASES:
                rates.append(phase(r, job, workers, workers * options.chunks))
                print(f"| {workers} | {rates[-1]:.2f} | {rates[-1] / rates[0]:.2f} |", flush=True)
            scale(r.settings, max(PHASES))  # the rest is not measured
            counts = r.ledger.counts(job)
            manifest = r.finish(job, _PATIENCE_S)
            wrong = rigs.differences(rigs.undisturbed(film), r.result(job, folder))
            status = r.jobs.status(job)
    failed = (counts.retried, status.chunks.failed) if counts else (0, status.chunks.failed)
    back = counts.handed_back if counts else 0
    print(f"\n{manifest.state}: {wrong} of {frames} frames differ from the source, {back} chunks handed back, ", end="")
    print(f"{failed[0]} attempts failed, {failed[1]} chunks set aside")
    return int(manifest.state != "done" or wrong > 0 or any(failed))


if __name__ == "__main__":
    sys.exit(main())
