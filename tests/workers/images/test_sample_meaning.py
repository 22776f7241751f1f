"""Samples whose meaning is easily mistaken: each is read correctly or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from contract.errors import BadInput, Unsupported
from contract.job import Spec
from contract.settings import Settings
from media.images.header import read_picture
from workers.generators.registry import load
from workers.images.image import ImageResult, enhance_image


def enhance(source: Path, out: Path, **spec: object) -> ImageResult:
    wanted = Spec(**{"model": "lanczos", "scale": 1.0, **spec})  # type: ignore[arg-type]
    enhancer = load(wanted, {}, Settings(device="cpu"))
    return enhance_image(source, out.name, wanted, enhancer, out, lambda: None)


def ramp(*bands: int, kind: type = np.uint8) -> np.ndarray:
    """Return 48 x 64 samples that increase in another direction in each band."""
    y, x = np.mgrid[:48, :64]
    planes = [(x + 1) / 64, (y + 1) / 48, (x + y + 1) / 112, (x * 0.5 + 33) / 66]
    plain = np.stack([planes[n] for n in bands], -1).squeeze()
    return plain.astype(kind) if kind is np.float32 else (plain * np.iinfo(kind).max).round().astype(kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_at_zero_is_turned_to_black_at_zero(tmp_path: Path, kind: type) -> None:
    """A TIFF with white at zero gives the same tones with black at zero."""
    tifffile.imwrite(tmp_path / "a.tif", ramp(0, kind=kind), photometric="miniswhite")
    enhance(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as made:
        assert made.pages[0].photometric == tifffile.PHOTOMETRIC.MINISBLACK
        np.testing.assert_array_equal(made.asarray(), np.iinfo(kind).max - ramp(0, kind=kind))


@pytest.mark.parametrize(
    ("pixels", "options", "says"),
    [(ramp(0, 1, 2), {"photometric": "ycbcr"}, "YCbCr without JPEG"),
     (ramp(0, kind=np.float32), {"photometric": "miniswhite"}, "begin with white"),
     (ramp(0, 1, 2), {"photometric": "cielab"}, "CIELab"),
     (ramp(0, 1, 2, 3), {"photometric": "separated", "extratags": [(332, "H", 1, 2, True)]}, "other inks"),
     (ramp(0, 3, kind=np.float32), {"photometric": "minisblack", "extrasamples": ["assocalpha"]}, "straight alpha"),
     (ramp(0, 1, 2).astype(np.float64), {"photometric": "rgb"}, "64-bit"),
     (ramp(0, kind=np.uint16).view(np.int16), {"photometric": "minisblack"}, "type short")],
)  # fmt: skip
def test_files_that_would_be_misread_are_refused(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, object], says: str
) -> None:
    """Files that libvips silently reads as RGB, as grey from black, 255 times too bright, or not at all, are refused at submission."""
    tifffile.imwrite(tmp_path / "a.tif", pixels, planarconfig="contig", **options)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match=says):
        read_picture(tmp_path / "a.tif", "a.tif")


def test_multiplied_alpha_becomes_straight(tmp_path: Path) -> None:
    """Premultiplied colours are divided by their alpha, the result declares straight alpha, and a note reports it."""
    straight = ramp(0, 1, 2, 3, kind=np.float32)
    premultiplied = straight * np.concatenate([straight[..., 3:]] * 3 + [np.ones_like(straight[..., 3:])], -1)
    samples = (premultiplied * 65535).round().astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["assocalpha"])
    made = enhance(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as result:
        assert result.pages[0].extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        np.testing.assert_allclose(result.asarray() / 65535, straight, atol=1e-4)
    assert any("divided" in note for note in made.notes)


@pytest.mark.parametrize(("suffix", "kept"), [(".tif", True), (".png", False), (".jpg", False)])
def test_an_unspecified_channel_does_not_become_transparency(tmp_path: Path, suffix: str, kept: bool) -> None:
    """An infrared or spot channel is kept in a TIFF, and omitted with a note in formats where it would become alpha."""
    source = ramp(0, 1, 2, 3)
    tifffile.imwrite(tmp_path / "a.tif", source, photometric="rgb", extrasamples=["unspecified"])
    out = tmp_path / f"b{suffix}"
    made = enhance(tmp_path / "a.tif", out)
    if kept:
        with tifffile.TiffFile(out) as result:
            assert result.pages[0].extrasamples == (tifffile.EXTRASAMPLE.UNSPECIFIED,)
            np.testing.assert_array_equal(result.asarray(), source)
        return
    with Image.open(out) as shown:
        assert shown.mode == "RGB"
        assert np.abs(np.asarray(shown, np.int16) - source[..., :3]).mean() < (2 if suffix == ".jpg" else 0.01)
    assert any("left out" in note for note in made.notes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_a_number_are_refused(tmp_path: Path, value: float) -> None:
    """A float scan with NaN or infinity is refused as such, and the error does not blame the weights."""
    pixels = ramp(0, 1, 2, kind=np.float32)
    pixels[20, 30, 1] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    with pytest.raises(BadInput, match="not a number"):
        enhance(tmp_path / "a.tif", tmp_path / "b.tif", scale=2.0)


@pytest.mark.parametrize("foreign", [False, True])
def test_cmyk_without_its_own_profile_is_noted(tmp_path: Path, foreign: bool) -> None:
    """The notes do not mention the file's profile when a general one was used instead."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if foreign else None
    Image.fromarray(ramp(0, 1, 2)).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=profile)
    made = enhance(tmp_path / "a.jpg", tmp_path / "b.png")
    [note] = [note for note in made.notes if note.startswith("CMYK")]
    assert "general press profile" in note


def test_a_film_in_an_avif_is_refused(tmp_path: Path) -> None:
    """An AVIF sequence is refused, not reduced to its first image; a still AVIF is accepted."""
    frames = [Image.fromarray(np.roll(ramp(0, 1, 2), 9 * n, 0)) for n in range(3)]
    frames[0].save(tmp_path / "still.avif")
    frames[0].save(tmp_path / "film.avif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "still.avif", "still.avif").width == 64
    with pytest.raises(Unsupported, match="animated AVIF"):
        read_picture(tmp_path / "film.avif", "film.avif")


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_expanded_to_the_whole_range(tmp_path: Path, bits: int) -> None:
    """A PNG of 2 or 4 bits of grey becomes 8 bits from black to white, as OpenCV reads it."""
    levels = ramp(0) >> (8 - bits)
    packed = np.zeros((48, 64 * bits // 8), np.uint8)
    for n in range(8 // bits):
        packed |= levels[:, n :: 8 // bits] << (8 - bits * (n + 1))
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 64, 48, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    data = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    enhance(tmp_path / "a.png", tmp_path / "b.png")
    shown = [cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE) for name in ("a.png", "b.png")]
    assert shown[0] is not None
    assert (shown[0].min(), shown[0].max()) == (0, 255)
    np.testing.assert_array_equal(shown[0], shown[1])


def test_map_coordinates_of_the_old_raster_are_omitted(tmp_path: Path) -> None:
    """A GeoTIFF's pixel scale, which the enlargement makes wrong, is omitted with a note; its other tags stay."""
    tags = [(33550, "d", 3, (2.0, 2.0, 0.0), True), (33922, "d", 6, (0.0,) * 6, True), (34737, "s", 0, "WGS 84|", True)]
    tifffile.imwrite(tmp_path / "a.tif", ramp(0, 1, 2), photometric="rgb", extratags=tags)
    made = enhance(tmp_path / "a.tif", tmp_path / "b.tif", scale=2.0)
    with tifffile.TiffFile(tmp_path / "b.tif") as result:
        assert not {33550, 33922} & {tag.code for tag in result.pages[0].tags}
        assert result.pages[0].tags[34737].value.startswith("WGS 84")
    assert any("GeoTIFF" in note for note in made.notes)
