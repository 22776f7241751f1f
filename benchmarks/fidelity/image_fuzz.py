"""Seeded corruptions of every kind of image: each must come out as another reader sees it, or with a note, or be refused in one sentence.

    python -m benchmarks.fidelity.image_fuzz [--count 3000] [--first 0] [--verbose]

Never silently different by the account of Pillow, tifffile and exiftool, never a hang, never a crash, and in bounded memory. A case is
named by its number, which seeds everything about it.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import io
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from contract.errors import RespoolError
from contract.job import Spec
from contract.settings import Settings
from testkit.exiftool import lost_tags
from workers.generators.registry import load
from workers.images.image import enhance_image

HANG_S = 60
SLICE = 250
"""Cases whose sources and results lie on disk until exiftool has read them."""
WIDTH, HEIGHT = 72, 56
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>Archiv</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta>'
)


def _pixels(depth: int = 8) -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    plain = np.stack([(np.sin(x / 9) * np.cos(y / 7) + 1) / 2, x / WIDTH, y / HEIGHT], -1)
    noise = np.random.default_rng(1).random(plain.shape) * 0.1
    top = 65535 if depth == 16 else 255
    return ((plain * 0.9 + noise) * top).clip(0, top).astype(np.uint16 if depth == 16 else np.uint8)


def _saved(form: str, mode: str = "RGB", metadata: bool = True, **options: Any) -> bytes:
    image = Image.fromarray(_pixels()).convert(mode)
    if metadata:
        exif = Image.Exif()
        exif[0x013B], exif[0x010E] = "Artist", "A description"
        exif.get_ifd(0x8769).update({0x9003: "1931:05:06 07:08:09"})
        options["exif"] = exif
        if form in ("JPEG", "WebP", "AVIF"):
            options["xmp"] = XMP
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _tiff(samples: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tags = [(700, 1, len(XMP), XMP, True), (315, 2, 7, "Artist", True)]
    tifffile.imwrite(file, samples, metadata=None, software=False, extratags=tags, **options)
    return file.getvalue()


BASES: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": lambda: _saved("JPEG", quality=92),
    "progressive.jpg": lambda: _saved("JPEG", quality=92, progressive=True),
    "restarts.jpg": lambda: _saved("JPEG", quality=92, restart_marker_blocks=4),
    "grey.jpg": lambda: _saved("JPEG", "L", quality=92),
    "inks.jpg": lambda: _saved("JPEG", "CMYK", quality=92),
    "rgb.png": lambda: _saved("PNG"),
    "alpha.png": lambda: _saved("PNG", "RGBA"),
    "palette.png": lambda: _saved("PNG", "P"),
    "deep.png": lambda: bytes(imagecodecs.png_encode(_pixels(16))),
    "plain.tif": lambda: _tiff(_pixels(), photometric="rgb", rowsperstrip=8),
    "deflate.tif": lambda: _tiff(_pixels(16), photometric="rgb", rowsperstrip=8, compression="zlib", predictor=True),
    "tiles.tif": lambda: _tiff(_pixels(), photometric="rgb", tile=(32, 32), compression="lzw"),
    "zstd.tif": lambda: _tiff(_pixels(), photometric="rgb", rowsperstrip=8, compression="zstd"),
    "jpeg.tif": lambda: _tiff(_pixels(), photometric="rgb", rowsperstrip=16, compression="jpeg"),
    "fax.tif": lambda: _saved("TIFF", "1", compression="group4"),
    "float.tif": lambda: _tiff((_pixels() / 255).astype(np.float32), photometric="rgb", rowsperstrip=8),
    "lossy.webp": lambda: _saved("WebP", quality=90),
    "lossless.webp": lambda: _saved("WebP", lossless=True),
    "a.avif": lambda: _saved("AVIF", quality=90),
    "a.jp2": lambda: bytes(imagecodecs.jpeg2k_encode(_pixels(), reversible=True, codecformat="jp2")),
    "a.bmp": lambda: _saved("BMP", metadata=False),
    "a.gif": lambda: _saved("GIF", "P", metadata=False),
    "a.ppm": lambda: _saved("PPM", metadata=False),
    "a.jxl": lambda: bytes(imagecodecs.jpegxl_encode(_pixels(), lossless=True)),
}


@functools.cache
def base(name: str) -> bytes:
    """Return the sound picture that cases of a name corrupt."""
    return BASES[name]()


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _blank(data: bytes, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(len(data))), int(rng.integers(4, 600))
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def _drop(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + data[start + int(rng.integers(1, 200)) :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + rng.bytes(int(rng.integers(1, 60))) + data[start:]


def _append(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 400)))


def _structure(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a byte of a header, a marker, a directory entry or a chunk's name and length, where such things stand."""
    damaged = bytearray(data)
    places = (
        [n for n in range(len(data) - 1) if data[n] == 0xFF and data[n + 1] >= 0xC0] if data[:2] == b"\xff\xd8" else []
    )
    if data[:2] in (b"II", b"MM"):
        first = int.from_bytes(data[4:8], "little")
        places = list(range(first, min(len(data), first + 200)))
    places = places or list(range(min(200, len(data))))
    at = int(rng.choice(places)) + int(rng.integers(4))
    damaged[min(at, len(damaged) - 1)] = int(rng.integers(256))
    return bytes(damaged)


APPLY = (_cut, _flip, _blank, _drop, _insert, _append, _structure)


@dataclass
class Case:
    """The outcome of a corrupted picture: exact, noted, refused, or what must never happen: silent, broken."""

    number: int
    name: str
    state: str
    words: str
    seconds: float
    notes: tuple[str, ...] = ()
    source: Path | None = None
    result: Path | None = None


def run_case(number: int, folder: Path) -> Case:
    """Corrupt and restore one picture, and compare the result with what other readers see."""
    rng = np.random.default_rng(number)
    name = list(BASES)[number % len(BASES)]
    corrupt = APPLY[int(rng.integers(len(APPLY)))]
    data = corrupt(base(name), rng)
    suffix = Path(name).suffix
    source = folder / f"{number}-source{suffix}"
    source.write_bytes(data)
    foreign = suffix in (".jp2", ".bmp", ".gif", ".ppm", ".jxl")
    result = folder / f"{number}-result{'.png' if foreign else suffix}"
    label = f"{name} {corrupt.__name__[1:]}"
    spec = Spec(model="lanczos", scale=1.0)
    began = time.perf_counter()
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        made = enhance_image(source, result.name, spec, load(spec, {}, Settings(device="cpu")), result, lambda: None)
    except RespoolError as error:
        return Case(number, label, "refused", str(error), time.perf_counter() - began)
    except Exception as error:
        return Case(number, label, "broken", f"{type(error).__name__}: {error}", time.perf_counter() - began)
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds = time.perf_counter() - began
    if made.damage:
        return Case(number, label, "noted", made.damage[0], seconds, tuple(made.notes), source, result)
    problem = _pixels_differ(data, base(name), result, suffix)
    if not problem:
        return Case(number, label, "exact", "", seconds, tuple(made.notes), source, result)
    said = [note for note in made.notes if not note.startswith(("the density", "written as"))]
    state = "noted" if said else "silent"
    return Case(number, label, state, f"{problem} | {'; '.join(said)}", seconds, tuple(made.notes), source, result)


def _pixels_differ(data: bytes, sound: bytes, result: Path, suffix: str) -> str:
    """Describe how the result differs from the intact picture and from another reader's; empty if it equals either."""
    found = _read(result.read_bytes(), result.suffix)
    if found is None:
        return "the result cannot be read"
    problems = []
    for what, expected in (("the sound picture", _read(sound, suffix)), ("another reader's", _read(data, suffix))):
        if expected is None:
            problems.append(f"{what}: cannot be read")
        elif expected.shape != found.shape:
            problems.append(f"{what}: {expected.shape} is not {found.shape}")
        else:
            error = float(np.abs(expected - found).mean()) / max(1.0, float(np.abs(expected).mean()))
            allowed = 0.002 if suffix in (".png", ".tif", ".bmp", ".ppm", ".gif", ".jp2", ".jxl") else 0.03
            if error <= allowed:
                return ""
            problems.append(f"{what}: mean error {error:.4f}")
    return ", ".join(problems)


def _read(data: bytes, suffix: str) -> np.ndarray[Any, Any] | None:
    """RGB in 0..1 as tifffile (TIFF) or Pillow reads it; None where it does not."""
    try:
        if suffix == ".tif":
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                samples = file.pages[0].asarray()
            top = 1.0 if samples.dtype.kind in "fb" else float(np.iinfo(samples.dtype).max)
            plain = samples.astype(float) / top
            return plain if plain.ndim == 3 else np.dstack([plain] * 3)
        if data[:4] == b"\x89PNG" and data[24:25] == b"\x10":
            return np.asarray(imagecodecs.png_decode(data)).astype(float)[..., :3] / 65535
        if data[:2] == b"\xff\x0a":
            return np.asarray(imagecodecs.jpegxl_decode(data)).astype(float)[..., :3] / 255
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return np.asarray(image.convert("RGB")).astype(float) / 255
    except Exception:
        return None


def _check_tags(cases: list[Case]) -> None:
    """Turn cases silent whose metadata changed, by exiftool's account, without a note on metadata."""
    pairs = [(case.source, case.result) for case in cases if case.source and case.result]
    lost = lost_tags([(a, b) for a, b in pairs if a and b])
    for case in cases:
        gone = lost.get(str(case.source), [])
        words = ("left out", "broken", "cannot be read", "replaced", "carried", "brought", "could not")
        if gone and not any(word in note for note in case.notes for word in words) and case.state == "exact":
            case.state, case.words = "silent", f"exiftool no longer finds {', '.join(gone[:6])}"


def main() -> int:
    """Run the cases; 1 when any is silent or broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    wanted = parser.parse_args()
    tally: Counter[str] = Counter()
    slowest = 0.0
    Image.MAX_IMAGE_PIXELS = None
    for start in range(wanted.first, wanted.first + wanted.count, SLICE):
        with tempfile.TemporaryDirectory(prefix="respool-fuzz-") as folder:
            numbers = range(start, min(start + SLICE, wanted.first + wanted.count))
            cases = [run_case(number, Path(folder)) for number in numbers]
            _check_tags(cases)
        for case in cases:
            tally[case.state] += 1
            slowest = max(slowest, case.seconds)
            if wanted.verbose or case.state in ("silent", "broken"):
                print(f"{case.number} {case.name}: {case.state} {case.words[:400]}", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    states = ", ".join(f"{n} {state}" for state, n in sorted(tally.items()))
    print(f"{states}; slowest {slowest:.1f} s; peak memory {memory} MiB")
    return int(bool(tally["silent"] or tally["broken"]))


if __name__ == "__main__":
    sys.exit(main())
