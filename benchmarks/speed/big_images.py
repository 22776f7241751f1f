"""One large photograph through one command, measured from outside: memory of every process, and time.

    python -m benchmarks.speed.big_images [--size WxH] [--model M] [-s S] [--workers N]

Makes a TIFF of that size (a photograph repeated, with grain, so that it neither deflates to nothing nor not at all), starts an
embedded cluster, runs `respool run` on it, and prints the peak memory (VmHWM) of every process, the time, the bands, and the
result as a second library (tifffile) reads it. Linux only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pyvips
import skimage
import tifffile

from benchmarks.speed.process_monitor import Watch
from contract import settings
from orchestrator.job_store import Records
from orchestrator.local import start
from stores.storage import Storage


def make_photograph(path: Path, width: int, height: int) -> Path:
    """Write an RGB TIFF of 8 bits in LZW strips with 300 dpi; seeded, in a stream."""
    tile = skimage.data.astronaut()
    one = pyvips.Image.new_from_memory(np.ascontiguousarray(tile).tobytes(), tile.shape[1], tile.shape[0], 3, "uchar")
    many = one.replicate(-(-width // one.width), -(-height // one.height)).crop(0, 0, width, height)
    grain = pyvips.Image.gaussnoise(width, height, sigma=2.0, mean=0.0, seed=1)
    image = (many + grain).cast("uchar").copy(interpretation="srgb", xres=300 / 25.4, yres=300 / 25.4)
    image.tiffsave(str(path), compression="lzw", predictor="horizontal", bigtiff=width * height * 3 > 1 << 32)
    return path


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="6000x6000")
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("-s", "--scale", default="4")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where files go (default: a temporary folder)")
    wanted = parser.parse_args()
    width, height = map(int, wanted.size.split("x"))
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="rs-", dir=wanted.folder, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, out = make_photograph(folder / "scan.tif", width, height), folder / "out.tif"
        scratch = folder / "scratch"
        with start(
            replace(settings.load(), state=folder / "state", scratch=scratch), workers=wanted.workers
        ) as cluster:
            seconds = watch.run(
                cluster, "run", str(source), "-o", str(out), "--model", wanted.model, "-s", wanted.scale
            )
            records = Records(Storage(cluster.settings))
            (job,) = records.jobs()
            plan = records.plan(job)
            assert plan is not None
        with tifffile.TiffFile(out) as result:
            page, kind = cast("tifffile.TiffPage", result.pages[0]), "BigTIFF" if result.is_bigtiff else "TIFF"
            made = f"{kind} {page.shape} {page.dtype}, {page.tags['XResolution'].value} dpi"
        sizes = f"{source.stat().st_size >> 20} MiB became {out.stat().st_size >> 20} MiB"
    megapixels = width * height / 1e6
    print(
        f"{wanted.model} x{wanted.scale}, {width}x{height}, load {os.getloadavg()[0]:.1f}: {len(plan.chunks)} bands on ",
        end="",
    )
    print(f"{wanted.workers} workers, {seconds:.0f} s, {megapixels / seconds:.2f} megapixels/s; {sizes}; {made}")
    print(watch.lines())


if __name__ == "__main__":
    main()
