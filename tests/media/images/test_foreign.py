"""Formats and compressions that libvips lacks here: each decodes to the samples that another library wrote."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from contract.errors import BadInput, Unsupported
from media.images.header import read_pages
from media.images.pixels import open_pixels

HEIGHT, WIDTH = 48, 64
Samples = np.ndarray[Any, Any]


def rgb() -> Samples:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 3, y * 5, (x + y) * 2], -1).astype(np.uint8)


def saved(form: str, image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tagged(samples: Samples, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


DEEP = rgb().astype(np.uint16) * 257
GREY = rgb()[..., 0].copy()
CASES: dict[str, tuple[Callable[[], bytes], Samples]] = {
    "a.bmp": (lambda: saved("BMP", Image.fromarray(rgb())), rgb()),
    "a.gif": (lambda: saved("GIF", Image.fromarray(GREY)), np.dstack([GREY] * 3)),
    "a.ppm": (lambda: saved("PPM", Image.fromarray(rgb())), rgb()),
    "deep.ppm": (lambda: b"P6 64 48 65535\n" + DEEP.astype(">u2").tobytes(), DEEP),
    "text.pgm": (lambda: b"P2\n# by hand\n64 48 255\n" + b" ".join(b"%d" % v for v in GREY.ravel()), GREY[..., None]),
    "a.jp2": (lambda: bytes(imagecodecs.jpeg2k_encode(rgb(), reversible=True, codecformat="jp2")), rgb()),
    "deep.j2k": (lambda: bytes(imagecodecs.jpeg2k_encode(DEEP, reversible=True, codecformat="j2k")), DEEP),
    "a.jxl": (lambda: bytes(imagecodecs.jpegxl_encode(rgb(), lossless=True)), rgb()),
    "deep.jxl": (lambda: bytes(imagecodecs.jpegxl_encode(DEEP, lossless=True)), DEEP),
    **{
        f"{name}.tif": (lambda name=name: tagged(rgb(), photometric="rgb", compression=name), rgb())  # type: ignore[misc]
        for name in ("zstd", "lzma", "lerc", "jpegxl", "png", "jpeg2000")
    },
    "tiles.tif": (lambda: tagged(DEEP, photometric="rgb", compression="zstd", predictor=True, tile=(32, 32)), DEEP),
    "white.tif": (lambda: tagged(255 - GREY, photometric="miniswhite", compression="zstd"), GREY[..., None]),
    "planes.tif": (
        lambda: tagged(rgb().transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", compression="lzma"),
        rgb(),
    ),
    "tiles in planes.tif": (
        lambda: tagged(rgb().transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", tile=(16, 16)),
        rgb(),
    ),
    "half floats in planes.tif": (
        lambda: tagged(
            (rgb().transpose(2, 0, 1) / 256).astype(np.float16),
            photometric="rgb",
            planarconfig="separate",
            rowsperstrip=7,
        ),
        (rgb() / 256).astype(np.float16).astype(np.float32),
    ),
    "grey and alpha in planes.tif": (
        lambda: tagged(
            rgb()[..., :2].transpose(2, 0, 1).copy(),
            photometric="minisblack",
            planarconfig="separate",
            extrasamples=[2],
            rowsperstrip=7,
        ),
        rgb()[..., :2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_samples_are_those_that_were_written(name: str, tmp_path: Path) -> None:
    """Every lossless picture comes back sample by sample, in its own depth."""
    make, expected = CASES[name]
    file = tmp_path / name
    file.write_bytes(make())
    page = read_pages(file, name)[0][0]
    image = open_pixels(file, page.picture, name, page=page.index)
    found = np.asarray(image.numpy()).reshape(expected.shape)
    assert found.dtype == expected.dtype
    assert (found == expected).all()


@pytest.mark.parametrize(
    ("code", "called"), [(34661, "JBIG"), (6, "old-style JPEG"), (32809, "ThunderScan"), (65000, "65000")]
)
def test_a_compression_that_nothing_reads_is_refused_by_name(code: int, called: str, tmp_path: Path) -> None:
    """The message names the compression, and does not call the source damaged."""
    data = bytearray(tagged(rgb(), photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages[0].tags[259]
    data[tag.offset + 8 : tag.offset + 10] = code.to_bytes(2, "little")
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(Unsupported, match=f"{called}.*not damaged"):
        read_pages(path, "a.tif")


@pytest.mark.parametrize("name", [n for n in CASES if n.endswith((".bmp", ".gif", ".ppm", ".jp2", ".jxl"))])
def test_a_short_file_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    """Half a file raises BadInput naming it, never something else and never a picture."""
    path = tmp_path / name
    data = CASES[name][0]()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match=name):
        open_pixels(path, read_pages(path, name)[0][0].picture, name).numpy()


def test_a_thumbnail_before_the_full_page_is_left_out(tmp_path: Path) -> None:
    """A reduced first page, or a lone page marked as reduced, is no camera raw file."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(rgb()[::2, ::2].copy(), photometric="rgb", subfiletype=1)
        file.write(rgb(), photometric="rgb")
    pages, notes = read_pages(path, "a.tif")
    assert [(p.picture.width, p.index) for p in pages] == [(WIDTH, 1)]
    assert notes == ["1 reduced pages or masks of the TIFF were left out"]
    tifffile.imwrite(path, rgb(), photometric="rgb", subfiletype=1)
    pages, notes = read_pages(path, "a.tif")
    assert len(pages) == 1
    assert "marked as a reduced one" in notes[0]


def test_damaged_metadata_costs_that_metadata(tmp_path: Path) -> None:
    """A pointer to a further page, a directory or a value past the end of the file is left out with a note."""
    data = tagged(rgb(), photometric="rgb", description="x" * 40)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag, following = file.pages[0].tags[270], file.pages[0].offset
        entries = int.from_bytes(data[following : following + 2], "little")
    end = following + 2 + 12 * entries
    cases = {"further page": (end, len(data) + 100), "tag 270": (tag.offset + 8, len(data) - 4)}
    for said, (at, value) in cases.items():
        broken = bytearray(data)
        broken[at : at + 4] = value.to_bytes(4, "little")
        path = tmp_path / "a.tif"
        path.write_bytes(broken)
        pages, notes = read_pages(path, "a.tif")
        assert pages[0].picture.width == WIDTH
        assert any(said in note for note in notes)


def test_a_tag_that_libtiff_refuses_costs_no_picture(tmp_path: Path) -> None:
    """A tag with a wrong count, for which libtiff refuses the file, is passed over: tifffile reads the pixels."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb(), photometric="rgb", metadata=None, extratags=[(341, 3, 1, 255, True)])
    page = read_pages(path, "a.tif")[0][0]
    assert page.picture.decoder == "tifffile"
    assert (open_pixels(path, page.picture, "a.tif").numpy() == rgb()).all()


def test_a_volume_is_refused(tmp_path: Path) -> None:
    """Of a TIFF with several planes in depth, one plane is no result."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 16, 16), np.uint8), photometric="minisblack", volumetric=True, metadata=None)
    with pytest.raises(Unsupported, match="volume of 4 planes"):
        read_pages(path, "a.tif")
