"""Upstream's own loop beside ours on the same film: ``python -m benchmarks.speed.upstream [--model M] [--frames N] ...``.

Upstream is the loop of its inference_realesrgan_video.py with its RealESRGANer (package realesrgan): frame by frame, decode to BGR,
enhance, encode with libx264's defaults. Where it pipes through ffmpeg processes, decoding and encoding get threads of their own
here, which is to its advantage. Ours is plan, cut, enhance, assemble, as worker and orchestrator do it. Every run is a
process of its own; runs are interleaved. Start-up (process start to first frame out of the network) is measured apart and not
counted. On a machine with a GPU both use it, without any change.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.speed.process_monitor import peak
from contract.settings import Settings
from testkit.natural_clips import make_moving
from testkit.programs import command_of
from workers.runtime import process_env

SIDES = {
    "upstream": {},
    "ours, upstream's encoder settings": {"crf": 23.0, "preset": "medium"},
    "ours": {},
}  # fmt: skip
"""Compared settings: fields of the spec. libx264's defaults are crf 23 and preset medium."""


def _ready(began: float) -> float:
    return time.monotonic() - began


def run_upstream(model: str, film: Path, out: Path, scale: float, began: float) -> dict[str, Any]:
    """Decode, enhance, encode, as upstream's script does."""
    import torch

    from benchmarks.speed.models import upstream
    from workers.film.pipeline import BackgroundConsumer, prefetched

    with tempfile.TemporaryDirectory() as folder:
        upsampler: Any = upstream(model, Settings(), Path(folder))

    def frames() -> Iterator[np.ndarray]:
        with av.open(str(film)) as source:
            for frame in source.decode(video=0):
                yield frame.to_ndarray(format="bgr24")

    with av.open(str(film)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        rate, width, height = stream.average_rate, stream.width, stream.height
        video = target.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = int(width * scale), int(height * scale), "yuv420p"
        video.codec_context.thread_type = "FRAME"  # as ffmpeg's program has it; PyAV's default cuts frames into slices
        count, ready, start = 0, 0.0, time.perf_counter()

        def encode(result: np.ndarray) -> None:
            target.mux(video.encode(av.VideoFrame.from_ndarray(result, format="bgr24")))

        with prefetched(frames(), 4) as images, BackgroundConsumer(encode, 4) as writer:
            for image in images:
                result, _ = upsampler.enhance(image, outscale=scale)
                writer.put(result)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                ready = ready or _ready(began)
                count += 1
        target.mux(video.encode(None))
        seconds = time.perf_counter() - start
    return {"frames": count, "seconds": seconds, "start": ready}


def run_ours(
    model: str, film: Path, out: Path, scale: float, began: float, reuse: bool, fields: dict[str, Any]
) -> dict[str, Any]:
    """Plan, cut, enhance, assemble."""
    from benchmarks.speed.models import enhancer
    from contract.job import Item
    from orchestrator.assemble.film import assemble_film
    from orchestrator.ingest.film import plan_film
    from orchestrator.ingest.packet_runs import cut
    from workers.film.chunk import film_stages
    from workers.stages import finished

    spec, loaded = enhancer(model, Settings(), scale=scale, **fields)
    generator: Any = loaded
    ready = 0.0
    plain = generator.frames

    def watched(rgb: Any, size: tuple[int, int]) -> Any:
        nonlocal ready
        if not reuse:
            generator.forget()
        made = plain(rgb, size)
        ready = ready or _ready(began)
        return made

    generator.frames = watched
    start = time.perf_counter()
    records, chunks, reorder, count = [], [], 0, 0
    with film.open("rb") as source, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        item = Item(0, "video", film.name, out.name, "0" * 64, film.stat().st_size)
        index = plan_film(source, item, spec, generator.scale)
        for n, run in enumerate(cut(source, index)):
            (folder / "run").write_bytes(run)
            chunk = folder / f"chunk-{n}"
            made = finished(film_stages(folder / "run", spec, generator, chunk, lambda *_: None))
            chunks.append(chunk.open("rb"))
            records.append(made.record)
            reorder, count = max(reorder, made.reorder), count + made.frames
        assemble_film(index, spec, source, chunks, out, reorder)
        for chunk_file in chunks:
            chunk_file.close()
    seconds = time.perf_counter() - start
    return {"frames": count, "seconds": seconds, "start": ready, "records": records}


def child(arguments: argparse.Namespace) -> None:
    """Run one side in this process and print its measurements as JSON."""
    began = arguments.begun
    if arguments.child == "upstream":
        made = run_upstream(arguments.model, arguments.film, arguments.out, arguments.scale, began)
    else:
        process_env.configure()  # as a worker does
        fields = SIDES[arguments.child]
        made = run_ours(
            arguments.model, arguments.film, arguments.out, arguments.scale, began, not arguments.no_reuse, fields
        )
    made["peak"] = peak()
    made["cpu"] = time.process_time()
    print(json.dumps(made))


def measure(side: str, arguments: argparse.Namespace, film: Path, out: Path) -> dict[str, Any]:
    """Run one side once in a process of its own."""
    command = command_of(__spec__, "--child", side, "--model", arguments.model)
    command += ["--film", str(film), "--out", str(out), "--scale", str(arguments.scale)]
    command += ["--no-reuse"] if arguments.no_reuse else []
    command += ["--begun", str(time.monotonic())]  # one clock for all processes
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def psnr(first: Path, second: Path) -> float:
    """Compute the luma PSNR of two films over all their frames."""
    total, count = 0.0, 0
    with av.open(str(first)) as a, av.open(str(second)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0), strict=True):
            lumas = [f.reformat(format="yuv420p").to_ndarray()[: f.height].astype(np.float64) for f in (x, y)]
            total += float(np.mean((lumas[0] - lumas[1]) ** 2))
            count += 1
    return 10 * math.log10(255**2 / (total / count)) if total else math.inf


def network_psnr(model: str, film: Path) -> float:
    """Compute the PSNR of our float result against upstream's network for the same RGB picture."""
    import torch

    from benchmarks.speed.models import enhancer, upstream
    from workers.generators.enhancer import Enhancer

    with av.open(str(film)) as source:
        image = next(source.decode(video=0)).to_ndarray(format="bgr24")[:240, :320]
    with tempfile.TemporaryDirectory() as folder:
        theirs: Any = upstream(model, Settings(), Path(folder))
    theirs.enhance(image)
    _, loaded = enhancer(model, Settings())
    assert isinstance(loaded, Enhancer)
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    ours = loaded.frames(rgb.to(loaded.device), (image.shape[0] * 4, image.shape[1] * 4))
    error = float((ours.cpu() - theirs.output.float().cpu().clamp(0, 1)).square().mean())
    return 10 * math.log10(1 / error) if error else math.inf


def table(
    arguments: argparse.Namespace, runs: dict[str, list[dict[str, Any]]], film: Path, outs: dict[str, Path]
) -> None:
    """Print the table of all sides and the PSNR of their films."""
    base = statistics.median(r["seconds"] / r["frames"] for r in runs["upstream"])
    print(
        "| | s/frame, median (lowest-highest) | ratio of medians | CPU s/frame | start-up s | peak MiB | PSNR of the films, luma |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for side, made in runs.items():
        each = sorted(r["seconds"] / r["frames"] for r in made)
        middle = statistics.median(each)
        cpu = statistics.median(r["cpu"] / r["frames"] for r in made)
        start, peak = (statistics.median(r[k] for r in made) for k in ("start", "peak"))
        fidelity = "-" if side == "upstream" else f"{psnr(outs['upstream'], outs[side]):.1f} dB"
        print(
            f"| {side} | {middle:.3f} ({each[0]:.3f}-{each[-1]:.3f}) | {base / middle:.2f} | {cpu:.2f} | {start:.1f} "
            f"| {peak / 2**20:.0f} | {fidelity} |"
        )
    last = runs["ours"][-1]["records"][-1]
    print(
        f"\nOurs: {last['reason']}. Reused {last['reused']:.0%} of all pixels; network busy {last['network_busy']:.0%}."
    )
    print(f"Network alone, same picture: {network_psnr(arguments.model, film):.1f} dB from upstream's fp32.")


def main() -> None:
    """Run all sides, interleaved, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--held", action="store_true", help="every picture stays for two frames")
    parser.add_argument("--no-reuse", action="store_true", help="compute every frame, equal to the last or not")
    parser.add_argument("--child", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = make_moving(folder / "film.mp4", arguments.frames, (width, height), arguments.held)
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        outs = {side: folder / f"out-{n}.mp4" for n, side in enumerate(SIDES)}
        for _ in range(arguments.rounds):
            for side, made in runs.items():
                made.append(measure(side, arguments, film, outs[side]))
        load = os.getloadavg()[0]
        print(
            f"{arguments.model}, {arguments.size}, {arguments.frames} frames{', held in pairs' if arguments.held else ''}"
            f"{', nothing reused' if arguments.no_reuse else ''}, scale {arguments.scale:g}, {arguments.rounds} rounds; "
            f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load at the end {load:.1f}\n"
        )
        table(arguments, runs, film, outs)


if __name__ == "__main__":
    main()
