"""A whole film with 1, 2 and 3 chunks in flight and by presets, beside upstream: ``python -m benchmarks.speed.in_flight [--ways 1 3 3:veryfast]``.

A way is the chunks that a worker has in hand, and the encoder's preset after a colon where one is asked for. Every way is the whole film:
plan, cut, the stages of a worker by its own queue of attempts, assemble; without the upload. All ways run in one process, warmed up,
in turn until `--seconds` after that are over; upstream's loop (`benchmarks.speed.upstream`) runs once before, in a process of its own.
The last columns are milliseconds a frame in which a stage's thread was in it, waiting included; of chunks in flight at once, added up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed import upstream
from contract.settings import Settings
from testkit.bounded_steps import SUMMARY
from testkit.natural_clips import make_moving
from testkit.programs import command_of
from workers.runtime import process_env

if TYPE_CHECKING:
    from contract.job import Spec
    from workers.film.chunk import FilmResult
    from workers.generators.enhancer import Enhancer

_WAYS = ("3", "1", "2", "3:faster", "1:faster", "3:ultrafast")
_WHOLE, _SHORT = "film.mp4", "short.mp4"
_COLUMNS = (
    *("in flight", "preset", "frames, chunks", "s a frame, median (lowest-highest)", "to upstream", "CPU s a frame"),
    *("cores busy", "share of the network's speed", "network alone, ms a frame", "kB a frame"),
)
_STAGES = ("decode", "fingerprint", "to_rgb", "network", "from_rgb", "encode")


class _Worker:
    """A worker's queue of attempts, without ledger and store."""

    def __init__(self, spec: Spec, enhancer: Enhancer, folder: Path, chunks: int) -> None:
        from stores.ledger import Ledger
        from workers.film.share import share_of
        from workers.runtime.in_flight import InFlight

        self._spec, self._enhancer, self._folder = spec, enhancer, folder
        self._share = share_of(chunks - 1, len(os.sched_getaffinity(0)))
        self._in_flight = InFlight(chunks - 1, 600.0, lambda _: os._exit(1))
        # It connects to nothing: no lease is renewed.
        self._ledger = Ledger(Settings(redis_url="redis://127.0.0.1:6379/0"))
        self._results: dict[int, FilmResult] = {}
        self._errors: list[BaseException] = []

    def film(self, runs: Iterator[bytes]) -> list[FilmResult]:
        """Enhance all chunks; return their results in order. The first error of a chunk is raised at the end."""
        for n, run in enumerate(runs):
            (self._folder / f"run-{n}").write_bytes(run)
            self._chunk(n)
        self._in_flight.idle.wait()
        if self._errors:
            raise self._errors[0]
        return [result for _, result in sorted(self._results.items())]

    def _chunk(self, n: int) -> None:
        from contract.job import Chunk
        from stores.ledger import Lease
        from workers.film.chunk import film_stages
        from workers.runtime.heartbeat import HeldLease
        from workers.runtime.in_flight import Attempt

        held = HeldLease(Lease("film", n, "1-bench", "bench"), self._ledger, threading.Event())
        attempt = Attempt(held, Chunk(n, "video", 0, 0, 1, "film"))
        self._in_flight.add(attempt)
        self._in_flight.make_way(attempt)
        paths = self._folder / f"run-{n}", self._folder / f"chunk-{n}"
        stages = film_stages(paths[0], self._spec, self._enhancer, paths[1], held.checkpoint, share=self._share)
        end = partial(self._end, n, attempt, stages)
        if self._in_flight.alone(attempt):
            end()
            return
        next(stages)
        self._in_flight.finish(attempt, end)

    def _end(self, n: int, attempt: Any, stages: Generator[None, None, FilmResult]) -> None:
        from workers.stages import finished

        try:
            self._results[n] = finished(stages)
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._in_flight.remove(attempt)


def restore(film: Path, spec: Spec, enhancer: Enhancer, chunks: int) -> dict[str, Any]:
    """Restore the film with that many `chunks` in flight; return frames, seconds, those of the processor, and those of the stages."""
    from contract.job import Item
    from orchestrator.assemble.film import assemble_film
    from orchestrator.ingest.film import plan_film
    from orchestrator.ingest.packet_runs import cut

    began, cpu = time.perf_counter(), time.process_time()
    with film.open("rb") as source, tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        folder = Path(name)
        item = Item(0, "video", film.name, "out.mp4", "0" * 64, film.stat().st_size)
        index = plan_film(source, item, spec, enhancer.scale)
        results = _Worker(spec, enhancer, folder, chunks).film(cut(source, index))
        parts = [opened.enter_context((folder / f"chunk-{n}").open("rb")) for n in range(len(results))]
        worked = time.perf_counter()
        assemble_film(index, spec, source, parts, folder / "out.mp4", max(r.reorder for r in results))
        size = (folder / "out.mp4").stat().st_size
    ended = time.perf_counter()
    records: list[Any] = [result.record for result in results]
    stages = {name: sum(record["seconds"].get(name, 0.0) for record in records) for name in _STAGES}
    return {
        "frames": sum(result.frames for result in results),
        "chunks": len(results),
        "seconds": ended - began,
        "cpu": time.process_time() - cpu,
        "bytes": size,
        "stages": stages | {"assemble": ended - worked},
        "reason": records[-1]["reason"],
    }


def child(arguments: argparse.Namespace) -> None:
    """Run the ways in turn; print a line of JSON after each: the way, what it took, and the network's seconds a frame right after it."""
    process_env.configure()
    import msgspec
    import torch

    from benchmarks.speed.models import enhancer
    from benchmarks.speed.stages import alone
    from workers.generators.torch_backend import OFTEN

    began = time.monotonic()
    spec, loaded = enhancer(arguments.model, Settings(), scale=4.0, chunk_frames=arguments.chunk_frames)
    network: Any = loaded
    size = _size(arguments)
    with torch.no_grad():
        alone(network, size, OFTEN + 2 if torch.cuda.is_available() else 1)
    restore(arguments.film / _SHORT, spec, network, 1)  # what is made for a film's own shapes
    ends, longest = time.monotonic() + arguments.seconds, 0.0
    print(f"loaded and warm after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for number in range(arguments.rounds * len(arguments.ways)):
        way = arguments.ways[number % len(arguments.ways)]
        if time.monotonic() + longest > ends:
            break
        began = time.monotonic()
        chunks, _, preset = way.partition(":")
        network.forget()
        made = restore(
            arguments.film / _WHOLE, msgspec.structs.replace(spec, preset=preset or None), network, int(chunks)
        )
        with torch.no_grad():
            made["alone"] = statistics.median(alone(network, size))
        longest = max(longest, time.monotonic() - began)
        print(json.dumps({"way": way, **made}), flush=True)


def compare(arguments: argparse.Namespace) -> None:
    """Run upstream, then all ways, and print a table."""
    size, cores = _size(arguments), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_moving(folder / _WHOLE, arguments.frames, size)
        short = make_moving(folder / _SHORT, arguments.upstream_frames, size)
        options = argparse.Namespace(model=arguments.model, scale=4.0, no_reuse=False)
        base = arguments.upstream
        if base is None:
            theirs = upstream.measure("upstream", options, short, folder / "theirs.mp4")
            base = theirs["seconds"] / theirs["frames"]
        print(f"{cores} cores; upstream {base:.4f} s a frame", flush=True)
        command = command_of(
            __spec__, "--child", "--film", folder, "--model", arguments.model, "--size", arguments.size
        )
        command += ["--chunk-frames", str(arguments.chunk_frames)]
        command += ["--rounds", str(arguments.rounds), "--seconds", str(arguments.seconds), "--ways", *arguments.ways]
        runs: dict[str, list[dict[str, Any]]] = {}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                made = json.loads(line)
                runs.setdefault(made["way"], []).append(made)
                said = "; ".join(f"{way} {base / _median(done, 'seconds'):.1f}" for way, done in runs.items())
                print(f"{SUMMARY}upstream {base:.3f} s a frame, ratios {said}", flush=True)
        if process.returncode:
            raise SystemExit(f"the films failed, status {process.returncode}")
    columns = (*_COLUMNS, *_STAGES, "assemble")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for way, done in runs.items():
        print(_row(way, done, base))
    print(f"\n{done[-1]['reason']}; load at the end {os.getloadavg()[0]:.1f}")


def _median(runs: list[dict[str, Any]], of: str) -> float:
    """Return the median of a sum, for each frame."""
    return float(statistics.median(run[of] / run["frames"] for run in runs))


def _row(way: str, runs: list[dict[str, Any]], base: float) -> str:
    wall, cpu = _median(runs, "seconds"), _median(runs, "cpu")
    each = sorted(run["seconds"] / run["frames"] for run in runs)
    busy = statistics.median(run["cpu"] / run["seconds"] for run in runs)
    share = statistics.median(run["alone"] * run["frames"] / run["seconds"] for run in runs)
    chunks, _, preset = way.partition(":")
    cells = [chunks, preset or "none", f"{runs[0]['frames']} in {runs[0]['chunks']}"]
    cells += [
        f"{wall:.4f} ({each[0]:.4f}-{each[-1]:.4f})",
        f"{base / wall:.2f}",
        f"{cpu:.3f}",
        f"{busy:.1f}",
        f"{share:.0%}",
    ]
    cells += [f"{statistics.median(run['alone'] for run in runs) * 1000:.2f}", f"{_median(runs, 'bytes') / 1000:.0f}"]
    stages = {
        name: statistics.median(run["stages"][name] / run["frames"] for run in runs) for name in runs[0]["stages"]
    }
    return f"| {' | '.join(cells + [f'{1000 * seconds:.1f}' for seconds in stages.values()])} |"


def _size(arguments: argparse.Namespace) -> tuple[int, int]:
    width, height = map(int, arguments.size.split("x"))
    return width, height


def main() -> None:
    """Compare, or run the ways in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--chunk-frames", type=int, default=0, help="frames of a chunk; as a job has them unless said")
    parser.add_argument("--upstream-frames", type=int, default=96)
    parser.add_argument("--upstream", type=float, help="its seconds a frame, measured before, instead of running it")
    parser.add_argument("--ways", nargs="*", default=list(_WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the ways: none begins that would end later")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
