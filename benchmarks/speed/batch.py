"""A large batch as archives have it, through one command: time, overhead per image, failures, and a rerun.

    python -m benchmarks.speed.batch [--files N] [--size WxH] [--model M] [-s S] [--workers N]

N photographs in folders, among them 1% cut off or scrambled, 1% links, 2% duplicates, odd names, and one that changes all the
time. *Overhead* is the time of the chunks that was not spent on pictures (fetching, storing, reading back, committing), as a share
of the time that was; *plain* is the same pictures through the same code in one process without a cluster. Fails when anything
but the bad files is missing, or a rerun does anything.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import skimage
from PIL import Image

from contract import settings
from contract.job import Spec
from orchestrator.job_store import Records
from orchestrator.local import start
from stores.storage import Storage

ODD = (
    "雪 {n}.png",
    "naïve – {n}.jpg",
    "-{n}.tif",
    "a\nb {n}.png",
    "\u202egnp.{n}.png",
    'it\'s "{n}".webp',
    "{n}" + "x" * 240 + ".png",
)
"""Names that have broken tools: other scripts, dashes, line breaks, right-to-left letters, quotes, 250 characters."""
PLAIN = 200
RESTLESS_BYTES = 32 << 20
"""Bytes: too many for a reader to finish between two changes of the file."""


def make_batch(folder: Path, files: int, width: int, height: int) -> set[str]:
    """Fill `folder`; returns the names (as respool calls them) that must fail."""
    photograph = skimage.data.astronaut()
    rng = np.random.default_rng(0)
    bad: set[str] = set()
    formats = (".jpg", ".png", ".tif", ".webp")
    last = b""
    for n in range(files):
        name = ODD[n // 50 % len(ODD)].format(n=n) if n % 50 == 7 else f"{n:05}{formats[n % 4]}"
        path = folder / f"reel {n // 1000}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if n % 100 == 33:
            path.symlink_to(path.with_name("link target.png").resolve())
            if not path.with_name("link target.png").exists():
                Image.fromarray(photograph[:height, :width]).save(path.with_name("link target.png"))
            continue
        if n % 50 == 21:
            path.with_suffix(".jpg").write_bytes(last)
            continue
        top, left = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
        pixels = photograph[top : top + height, left : left + width].copy()
        pixels[0, 0] = (n % 256, n // 256 % 256, n // 65536)
        Image.fromarray(pixels).save(path, quality=92)
        if path.suffix == ".jpg":
            last = path.read_bytes()
        if n % 100 == 99:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 3] if n % 200 == 99 else rng.bytes(len(data)))
            bad.add(f"{path.parent.name}/{name}")
    return bad


def plain_seconds(folder: Path, spec: Spec, bad: set[str]) -> float:
    """Measure the seconds per image of the pictures alone, in this process."""
    from workers.generators.registry import load
    from workers.images.image import enhance_image

    enhancer = load(spec, _weights(spec), settings.load())
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and f"{p.parent.name}/{p.name}" not in bad][:PLAIN]
    with tempfile.TemporaryDirectory() as name:
        enhance_image(found[0], "first.png", spec, enhancer, Path(name) / "out", lambda: None)
        began = time.perf_counter()
        for path in found:
            enhance_image(path, f"x{path.suffix}", spec, enhancer, Path(name) / "out", lambda: None)
        return (time.perf_counter() - began) / len(found)


def _weights(spec: Spec) -> dict[str, Path]:
    from weights import catalog
    from weights.fetch import fetch

    known = {w.sha256: w for w in spec.weights}
    entries = [catalog.load(settings.load()).find(w.name) for w in known.values()]
    return {w.sha256: fetch(entry, settings.load()).path for w, entry in zip(known.values(), entries, strict=True)}


def restless(path: Path, end: threading.Event) -> None:
    """Append to a file, again and again."""
    while not end.wait(0.002):
        with path.open("ab") as file:
            file.write(b".")


def _beside(moving: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` while a file changes all the time."""
    end = threading.Event()
    writer = threading.Thread(target=restless, args=(moving, end))
    writer.start()
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        end.set()
        writer.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.batch", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", default="96x72")
    parser.add_argument("--model", default="lanczos")
    parser.add_argument("-s", "--scale", default="2")
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    """Print the measurements; 1 when anything but the bad files is missing, or a rerun does anything."""
    wanted = _options()
    width, height = map(int, wanted.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, out = folder / "in", folder / "out"
        bad = make_batch(source, wanted.files, width, height)
        moving = source / "reel 0" / "moving.png"
        moving.write_bytes(next(source.rglob("*.png")).read_bytes() + bytes(RESTLESS_BYTES))
        bad.add("reel 0/moving.png")
        respool = str(Path(sys.executable).with_name("respool"))
        command = [respool, "run", str(source), "-o", str(out), "--model", wanted.model, "-s", wanted.scale]
        with start(replace(settings.load(), state=folder / "state"), workers=wanted.workers) as cluster:
            command += ["--state", str(cluster.folder.path)]
            began = time.monotonic()
            first = _beside(moving, command)
            seconds = time.monotonic() - began
            records = Records(Storage(cluster.settings))
            (job,) = records.jobs()
            plan, spec = records.plan(job), records.job(job).spec
            assert plan is not None
            dones = list(records.dones(plan, range(len(plan.chunks))))
            (out / "reel 1" / "01000.jpg").unlink(missing_ok=True)
            stood = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
            began = time.monotonic()
            again = _beside(moving, command)  # it was refused, so the job is the same only when it is refused again
            rerun = time.monotonic() - began
            jobs = len(list(records.jobs()))
        with (out / "failures.csv").open(newline="") as file:
            listed = {row[0] for row in list(csv.reader(file))[1:]}
        made = [p for p in out.rglob("*") if p.is_file() and p.name != "failures.csv"]
        touched = [p for p in made if stood.get(p) not in (None, p.stat().st_mtime_ns)]
        plain = plain_seconds(source, spec, bad)
    enhance = sum(msgspec.json.decode(d.record["stages"])["enhance"] for d in dones)
    whole = sum(
        msgspec.json.decode(d.record["seconds"])["whole"] - msgspec.json.decode(d.record["seconds"])["load"]
        for d in dones
    )
    images = sum(d.frames for d in dones)
    print(f"{wanted.model} x{wanted.scale}, {wanted.size}, {wanted.workers} workers, load {os.getloadavg()[0]:.1f}")
    print(
        f"{len(made)} results of {len(made) + len(listed)} files in {seconds:.0f} s ({seconds / len(made) * 1e3:.1f} ms each), exit {first.returncode}"
    )
    print(
        f"{images} images computed in {len(dones)} chunks; {len(plan.duplicates)} duplicates and links were not computed again"
    )
    print(
        f"in chunks: {whole / images * 1e3:.1f} ms an image, of it pictures {enhance / images * 1e3:.1f}: overhead {whole / enhance - 1:.1%}; plain {plain * 1e3:.1f} ms"
    )
    print(f"failures.csv lists {len(listed)}; not foreseen: {sorted(listed ^ bad)[:5]}")
    print(f"rerun: {rerun:.0f} s, exit {again.returncode}, {jobs} job(s), {len(touched)} files written again")
    return int(listed != bad or first.returncode != 1 or again.returncode != 1 or jobs != 1 or bool(touched))


if __name__ == "__main__":
    sys.exit(main())
