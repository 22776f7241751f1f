"""Odd pictures, one a kind: formats, compressions, damage, metadata about pixels and unknown parts, each checked by another library.

Rows of docs/fidelity-images.md. A row has bytes that another library wrote, what must become of them (exact, noted, refused), words that
must be said, and a check of the result by a library that is not Respool's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from benchmarks.fidelity.odd_checks import Check, Samples, by_libpng, by_pillow, by_tifffile
from contract.errors import RespoolError
from contract.job import Spec
from contract.settings import Settings
from workers.generators.registry import load
from workers.images.image import enhance_image

HEIGHT, WIDTH = 80, 112


@dataclass(frozen=True)
class Odd:
    """One odd picture: `expect` is exact, noted or refused; `says` must be part of a note or message; `reader` made the check."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    expect: str
    says: str = ""
    reader: str = "Pillow"
    check: Check = lambda _: ""
    out: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def rgb() -> Samples:
    """Return a textured colour picture of 8 bits."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    plain = np.stack([(np.sin(x / 9) * np.cos(y / 7) + 1) * 110, x * 2, y * 3], -1)
    return (plain + np.random.default_rng(1).integers(0, 15, plain.shape)).clip(0, 255).astype(np.uint8)


GREY = rgb()[..., 0].copy()
DEEP = rgb().astype(np.uint16) * 257


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """Return a picture as Pillow writes it."""
    file = io.BytesIO()
    (image or Image.fromarray(rgb())).save(file, form, **options)
    return file.getvalue()


def tagged(samples: Samples, **options: Any) -> bytes:
    """Return samples as a TIFF that tifffile writes."""
    file = io.BytesIO()
    options.setdefault("photometric", "rgb" if samples.ndim == 3 else "minisblack")
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def first_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the first page of a TIFF, which is always a full one."""
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    return page


def formats() -> Iterator[Odd]:
    """Yield formats and compressions that are read by other libraries than libvips."""
    for rows in (_simple, _wavelets, _rare_tiff, _refused):
        yield from rows()


def _simple() -> Iterator[Odd]:
    """Yield BMP, GIF and PNM."""
    yield Odd(
        "BMP", ".bmp", lambda: saved("BMP"), "exact", "BMP is read and not written", check=by_pillow(rgb()), out=".png"
    )
    yield Odd(
        "BMP, palette", ".bmp", lambda: saved("BMP", Image.fromarray(GREY)), "exact", check=by_pillow(GREY), out=".png"
    )
    yield Odd(
        "GIF",
        ".gif",
        lambda: saved("GIF", Image.fromarray(GREY)),
        "exact",
        check=by_pillow(np.dstack([GREY] * 3)),
        out=".png",
    )
    yield Odd(
        "GIF, animated",
        ".gif",
        lambda: saved("GIF", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))]),
        "refused",
        "animated",
    )
    yield Odd("PPM", ".ppm", lambda: saved("PPM"), "exact", check=by_pillow(rgb()), out=".png")
    yield Odd(
        "PPM of 16 bits",
        ".ppm",
        lambda: b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + DEEP.astype(">u2").tobytes(),
        "exact",
        reader="libpng",
        check=by_libpng(DEEP),
        out=".png",
    )
    yield Odd(
        "PGM in text",
        ".pgm",
        lambda: b"P2\n# a\n%d %d 255\n" % (WIDTH, HEIGHT) + b" ".join(b"%d" % v for v in GREY.ravel()),
        "exact",
        check=by_pillow(GREY),
        out=".png",
    )
    yield Odd(
        "PBM",
        ".pbm",
        lambda: saved("PPM", Image.fromarray(GREY > 99)),
        "exact",
        check=by_pillow(np.where(GREY > 99, 255, 0).astype(np.uint8)),
        out=".png",
    )


def _wavelets() -> Iterator[Odd]:
    """Yield JPEG 2000 and JPEG XL."""
    yield Odd(
        "JPEG 2000",
        ".jp2",
        lambda: bytes(imagecodecs.jpeg2k_encode(rgb(), reversible=True, codecformat="jp2")),
        "exact",
        check=by_pillow(rgb()),
        out=".png",
    )
    yield Odd(
        "JPEG 2000 of 16 bits",
        ".jp2",
        lambda: bytes(imagecodecs.jpeg2k_encode(DEEP, reversible=True, codecformat="jp2")),
        "exact",
        reader="libpng",
        check=by_libpng(DEEP),
        out=".png",
    )
    yield Odd(
        "JPEG 2000 codestream",
        ".j2k",
        lambda: bytes(imagecodecs.jpeg2k_encode(rgb(), reversible=True, codecformat="j2k")),
        "exact",
        check=by_pillow(rgb()),
        out=".png",
    )
    yield Odd(
        "JPEG XL",
        ".jxl",
        lambda: bytes(imagecodecs.jpegxl_encode(rgb(), lossless=True)),
        "exact",
        check=by_pillow(rgb()),
        out=".png",
    )
    yield Odd(
        "JPEG XL of 16 bits",
        ".jxl",
        lambda: bytes(imagecodecs.jpegxl_encode(DEEP, lossless=True)),
        "exact",
        reader="libpng",
        check=by_libpng(DEEP),
        out=".png",
    )


def _rare_tiff() -> Iterator[Odd]:
    """Yield TIFFs with rare compressions."""
    for name in ("zstd", "lzma", "lerc", "jpeg2000", "jpegxl", "jpegxr", "png", "webp"):
        yield Odd(
            f"TIFF, {name}",
            ".tif",
            partial(tagged, rgb(), compression=name),
            "exact",
            reader="tifffile",
            check=by_tifffile(rgb()),
        )
    yield Odd(
        "TIFF, zstd, tiles of 16 bits",
        ".tif",
        lambda: tagged(DEEP, compression="zstd", predictor=True, tile=(32, 32)),
        "exact",
        reader="tifffile",
        check=by_tifffile(DEEP),
    )
    yield Odd(
        "TIFF, zstd, float",
        ".tif",
        lambda: tagged((rgb() / 255).astype(np.float32), compression="zstd"),
        "exact",
        reader="tifffile",
        check=by_tifffile((rgb() / 255).astype(np.float32)),
    )
    yield Odd(
        "TIFF, zstd, white is zero",
        ".tif",
        lambda: tagged(255 - GREY, photometric="miniswhite", compression="zstd"),
        "exact",
        reader="tifffile",
        check=by_tifffile(GREY),
    )


def _refused() -> Iterator[Odd]:
    """Yield formats and compressions that are refused by name."""
    for code, name in (
        (34661, "JBIG"),
        (6, "old-style JPEG"),
        (32809, "ThunderScan"),
        (32909, "PixarLog"),
        (34676, "SGI LogLuv"),
        (34715, "JBIG2"),
        (65000, "65000"),
    ):
        yield Odd(f"TIFF, {name}", ".tif", partial(_compression, code), "refused", name)
    for head, name in (
        (b"v/1\1", "OpenEXR"),
        (b"SIMPLE  =", "FITS"),
        (b"\x0a\5\1\x08", "PCX"),
        (b"\1\xda\1\1", "SGI"),
        (b"8BPS\0\2", "PSB"),
    ):
        yield Odd(name, ".img", partial(_padded, head), "refused", name)


def _padded(head: bytes) -> bytes:
    return head + bytes(600)


def _compression(code: int) -> bytes:
    data = bytearray(tagged(rgb()))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = first_page(file).tags[259]
    data[tag.offset + 8 : tag.offset + 10] = code.to_bytes(2, "little")
    return bytes(data)


def examine_odd(odd: Odd, folder: Path) -> tuple[list[str], list[str]]:
    """Restore one odd picture; return the cells of its row and what is wrong."""
    source = folder / f"source{odd.suffix}"
    source.write_bytes(odd.make())
    out = folder / f"out{odd.out or odd.suffix}"
    spec = Spec(model="lanczos", scale=1.0, **odd.options)
    try:
        made = enhance_image(source, out.name, spec, load(spec, {}, Settings(device="cpu")), out, lambda: None)
    except RespoolError as error:
        outcome, said, wrong = "refused", str(error), ""
    else:
        outcome = "damaged" if made.damage else "noted" if made.notes else "exact"
        said = "; ".join([*made.damage, *(n for n in made.notes if not n.startswith("the density"))])
        wrong = odd.check(out.read_bytes())
        if odd.expect == "exact" and outcome == "noted":
            outcome = "exact"
    faults = [f"{outcome} instead of {odd.expect}: {said}"] if outcome != odd.expect else []
    faults += [f"{odd.says!r} is not said: {said}"] if odd.says not in said else []
    faults += [wrong] if wrong else []
    return [odd.name, outcome, odd.reader if outcome != "refused" else "-", said.replace("|", "/")[:160] or "-"], faults
