"""Cost of checking pictures with two decoders: ``python -m benchmarks.speed.second_reader``.

Prints the processor time of the check (both decoders and the comparison), of the second decoder alone, and of the whole of a picture with a
network, for many JPEGs of 12 megapixels together, for JPEGs of 12 megapixels each, and for a TIFF of 20,000 x 20,000. Processor time does
not depend on what else the machine does. Where a network would take hours, its time is that of a part, scaled by the pixels: said so.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tifffile
from PIL import Image

from contract.job import Spec
from contract.settings import Settings
from media.images import witness
from media.images.block_means import Samples
from media.images.header import Page, read_pages
from media.images.second_opinion import Opinion
from media.images.second_reader import opinion
from media.images.witness import Verdict
from testkit.natural_clips import photograph
from weights import catalog
from weights.fetch import fetch
from weights.pin import describe
from workers.generators.enhancer import Enhancer
from workers.generators.registry import load
from workers.images import source_check
from workers.images.image import enhance_image

BAR = 0.03
"""Share of a job with a network that the second reader may take."""


class Meter:
    """Sums of processor seconds: of the check of a source, and of the second decoder within it."""

    def __init__(self) -> None:
        self.check = self.second = 0.0
        self._patched = contextlib.ExitStack()

    def __enter__(self) -> Meter:
        self._patched.enter_context(patch.object(source_check, "examine", self.examine))
        self._patched.enter_context(patch.object(witness, "opinion", self.opinion))
        return self

    def __exit__(self, *_: object) -> None:
        self._patched.close()

    def examine(self, file: Path, page: Page, name: str, scratch: Path, second: bool = True) -> Verdict:
        """Check a page, and add its time."""
        began = time.process_time()
        try:
            return witness.examine(file, page, name, scratch, second)
        finally:
            self.check += time.process_time() - began

    def opinion(self, file: Path, page: Page) -> Opinion:
        """Read a page with the second decoder, and add its time."""
        began = time.process_time()
        try:
            return opinion(file, page)
        finally:
            self.second += time.process_time() - began


def _network(name: str, settings: Settings) -> tuple[Enhancer, Spec]:
    """Load a generator of the catalog, and return the spec that names it."""
    entry = catalog.load(settings).find(name, ("generator",))
    found = fetch(entry, settings)
    spec = Spec(entry.name, weights=(describe(entry, found),))
    return load(spec, {found.sha256: found.path}, settings), spec


@functools.cache
def _picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(photograph(height, width))


def _jpeg(width: int, height: int, number: int, path: Path) -> Path:
    """Write a JPEG of a part of a photograph, as cameras write them."""
    whole = _picture(max(256, height), max(256, width))
    left = number * 13 % (whole.width - width + 1)
    whole.crop((left, 0, left + width, height)).save(path, quality=92, subsampling=2)
    return path


def _restored(files: list[Path], spec: Spec, enhancer: Enhancer, folder: Path) -> tuple[float, Meter]:
    """Restore files; return the processor seconds of everything, and those of the checks."""
    began = time.process_time()
    with Meter() as meter:
        for file in files:
            out = folder / "result.png"
            enhance_image(file, out.name, spec, enhancer, out, lambda: None)
    return time.process_time() - began, meter


def _line(what: str, total: float, meter: Meter) -> bool:
    share = meter.second / total
    print(
        f"{what}: {total:.1f} s in all, {meter.check:.2f} s in both decoders and the comparison ({meter.check / total:.2%}), "
        f"{meter.second:.2f} s in the second decoder ({share:.2%}; bar {BAR:.0%})",
        flush=True,
    )
    return share <= BAR


def main() -> int:
    """Measure; 1 when the second decoder takes more than the bar anywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="realesr-animevideov3", help="the fastest network: its share is the largest")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument(
        "--network", type=int, default=1000, help="of these, how many pass the network: the rest by their rate"
    )
    parser.add_argument("--large", type=int, default=2, help="JPEGs of 12 megapixels each")
    parser.add_argument("--side", type=int, default=20_000)
    wanted = parser.parse_args()
    settings = Settings(device="cpu")
    enhancer, spec = _network(wanted.model, settings)
    within = True
    with tempfile.TemporaryDirectory(prefix="respool-witness-") as name:
        folder = Path(name)
        side = round((12_000_000 / wanted.count * 4 / 3) ** 0.5)
        small = [_jpeg(side, round(side * 0.75), n, folder / f"{n}.jpg") for n in range(wanted.count)]
        _restored(small[:2], spec, enhancer, folder)
        chosen = small[: wanted.network]
        total, meter = _restored(chosen, spec, enhancer, folder)
        what = f"JPEGs of {side} x {round(side * 0.75)}"
        within &= _line(f"{len(chosen)} {what}, {wanted.model}", total, meter)
        rate = (total - meter.check) / (len(chosen) * side * round(side * 0.75))
        within &= _checked(small, rate, what, folder)
        within &= _checked(
            [_jpeg(4000, 3000, n, folder / f"large{n}.jpg") for n in range(wanted.large)],
            rate,
            "JPEGs of 4000 x 3000",
            folder,
        )
        file = folder / "large.tif"
        strip = photograph(512, 1024)
        row = np.tile(strip, (1, -(-wanted.side // 1024), 1))[:, : wanted.side]
        with tifffile.TiffWriter(file) as writer:
            rows = (row[n % 512] for n in range(wanted.side))
            shape = (wanted.side, wanted.side, 3)
            writer.write(_strips(rows, wanted.side), shape=shape, dtype=np.uint8, photometric="rgb", rowsperstrip=16)
        within &= _checked([file], rate, f"a TIFF of {wanted.side} x {wanted.side}", folder)
    return 0 if within else 1


def _strips(rows: Iterable[Samples], side: int) -> Iterator[Samples]:
    """Yield strips of 16 rows."""
    left = iter(rows)
    while strip := list(islice(left, 16)):
        yield np.stack(strip).reshape(len(strip), side, 3)


def _checked(files: list[Path], rate: float, what: str, folder: Path) -> bool:
    """Check files without restoring them; hold the cost against the network's, `rate` processor seconds a pixel."""
    pixels = 0
    with Meter() as meter:
        for file in files:
            page = read_pages(file, file.name)[0][0]
            pixels += page.picture.width * page.picture.height
            verdict = meter.examine(file, page, file.name, folder / "repaired")
            if verdict.damage or len(verdict.readers) < 2:
                print(f"{file.name}: {verdict}", file=sys.stderr)
                return False
    return _line(f"{len(files)} {what}, the rest of the work by its rate above", rate * pixels + meter.check, meter)


if __name__ == "__main__":
    sys.exit(main())
