"""Damage of images: detected by two decoders, classified, measured in rows, and reported with every result."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from contract.errors import BadInput, Unsupported
from contract.job import Spec
from contract.settings import Settings
from media.images.header import read_pages
from media.images.witness import examine
from workers.generators.registry import load
from workers.images.image import ImageResult, enhance_image

Restore = Callable[..., ImageResult]
HEIGHT, WIDTH = 160, 208


@pytest.fixture
def restore(tmp_path: Path) -> Restore:
    """Return a function that restores bytes as a file of a name, with options of the spec."""

    def run(data: bytes, name: str, **options: object) -> ImageResult:
        source = tmp_path / f"source-{name}"
        source.write_bytes(data)
        spec = Spec(model="lanczos", scale=1.0, **options)  # type: ignore[arg-type]
        return enhance_image(source, name, spec, load(spec, {}, Settings(device="cpu")), tmp_path / name, lambda: None)

    return run


def pixels() -> np.ndarray:
    """Return a textured image without a row of one colour."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    plain = np.stack([(np.sin(x / 17) * np.cos(y / 23) + 1) * 110, x % 200, y % 200], -1)
    return (plain + np.random.default_rng(1).integers(0, 30, plain.shape)).astype(np.uint8)


def picture(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, form, **options)
    return file.getvalue()


def strips(compression: str) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels(), photometric="rgb", rowsperstrip=16, compression=compression, metadata=None)
    return file.getvalue()


SOUND = {
    "baseline.jpg": lambda: picture("JPEG", quality=90),
    "progressive.jpg": lambda: picture("JPEG", quality=90, progressive=True),
    "grey.jpg": lambda: _converted("L", "JPEG", quality=90),
    "inks.jpg": lambda: _converted("CMYK", "JPEG", quality=95),
    "rgb.png": lambda: picture("PNG"),
    "palette.png": lambda: _converted("P", "PNG"),
    "bilevel.png": lambda: _converted("1", "PNG"),
    "lossy.webp": lambda: picture("WebP", quality=90),
    "lossless.webp": lambda: picture("WebP", lossless=True),
    "plain.avif": lambda: picture("AVIF", quality=90),
    "deflate.tif": lambda: strips("zlib"),
    "lzw.tif": lambda: strips("lzw"),
    "jpeg.tif": lambda: picture("TIFF", compression="jpeg"),
    "palette.tif": lambda: _converted("P", "TIFF"),
    "fax.tif": lambda: _converted("1", "TIFF", compression="group4"),
    "inks.tif": lambda: _converted("CMYK", "TIFF"),
}


def _converted(mode: str, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels()).convert(mode).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", SOUND)
def test_intact_images_are_read_alike_by_two_decoders(name: str, tmp_path: Path) -> None:
    """A second decoder confirms every kind of intact image, and no damage is reported."""
    file = tmp_path / name
    file.write_bytes(SOUND[name]())
    page = read_pages(file, name)[0][0]
    verdict = examine(file, page, name, tmp_path / "repaired")
    assert (verdict.damage, verdict.notes, verdict.rows) == ("", (), HEIGHT)
    assert len(verdict.readers) == 2


def test_a_missing_end_marker_is_harmless(restore: Restore) -> None:
    """A JPEG without its last two bytes and a PNG without its end chunk have all rows, and a note reports the end."""
    for name, cut in (("baseline.jpg", 2), ("progressive.jpg", 2), ("rgb.png", 12)):
        made = restore(SOUND[name]()[:-cut], name, strict=True)
        assert not made.damage
        assert any("every row is there" in note for note in made.notes)


def test_a_wrong_checksum_over_intact_pixels_is_harmless(restore: Restore) -> None:
    """A wrong CRC of a pixel chunk is harmless if the pixel stream's own checksum is right."""
    data = bytearray(SOUND["rgb.png"]())
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    data[at + 4 + length] ^= 0xFF
    made = restore(bytes(data), "rgb.png")
    assert not made.damage
    assert any("own checksum holds" in note for note in made.notes)


@pytest.mark.parametrize("name", ["baseline.jpg", "rgb.png"])
def test_a_truncated_picture_fails_with_the_share_that_would_accept_it(restore: Restore, name: str) -> None:
    """A file without two thirds of its data fails by default; with the --salvage of its message the result is marked damaged."""
    data = SOUND[name]()
    short = data[: len(data) // 3]
    with pytest.raises(BadInput, match=r"only \d+ of its 160 rows \(\d+%\).*--salvage \d+") as error:
        restore(short, name)
    share = int(str(error.value).rpartition(" ")[2].rstrip("."))
    assert 15 <= share <= 45
    made = restore(short, name, salvage=share)
    assert "rows were decoded" in made.damage[0]
    with pytest.raises(BadInput):
        restore(short, name, salvage=share + 1)


def test_scan_data_that_end_early_before_an_end_marker(restore: Restore) -> None:
    """A JPEG with an end marker after a third of its data is damaged, with or without the second decoder."""
    data = SOUND["baseline.jpg"]()
    short = data[: len(data) // 3] + b"\xff\xd9"
    for witness in ("full", "off"):
        with pytest.raises(BadInput, match="--salvage"):
            restore(short, "baseline.jpg", witness=witness)


def test_a_progressive_jpeg_that_lacks_scans_is_damaged(restore: Restore) -> None:
    """Missing later scans before the end marker are detected by the file's structure, as no decoder reports them."""
    data = SOUND["progressive.jpg"]()
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    made = restore(data[: scans[-1]] + b"\xff\xd9", "progressive.jpg")
    assert "progressive scans stop" in made.damage[0]
    with pytest.raises(BadInput, match="--salvage"):
        restore(data[: scans[1]] + b"\xff\xd9", "progressive.jpg")


def test_damaged_strips_are_found_and_measured(restore: Restore) -> None:
    """One damaged strip of ten leaves nine tenths of the rows; --strict refuses the image."""
    data = bytearray(strips("zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset = file.pages[0].dataoffsets[4]
    data[offset + 20 : offset + 60] = bytes(40)
    made = restore(bytes(data), "deflate.tif")
    assert len(made.damage) == 1
    with pytest.raises(BadInput, match="--strict"):
        restore(bytes(data), "deflate.tif", strict=True)


def test_no_row_decoded_is_no_result(restore: Restore) -> None:
    """An image without any decodable row fails even with --salvage 0."""
    data = SOUND["rgb.png"]()
    at = data.index(b"IDAT") + 4
    with pytest.raises(BadInput, match="cannot be decoded at all"):
        restore(data[:at] + bytes(500) + data[at + 500 :], "rgb.png", salvage=0)


def test_the_sample_is_one_name_in_ten(restore: Restore) -> None:
    """`--witness sample` checks a tenth of the names with both decoders, `off` none."""
    data = SOUND["rgb.png"]()
    readers = [len(restore(data, f"{n}.png", witness="sample").record["checks"][0]["readers"]) for n in range(60)]  # type: ignore[index]
    assert 1 <= readers.count(2) <= 15
    assert restore(data, "0.png", witness="off").record["checks"] == [{"readers": ["libvips"]}]


@pytest.mark.parametrize(("at", "value", "called"), [(1, 0xC3, "lossless JPEG"), (4, 12, "12-bit JPEG")])
def test_a_rare_coding_process_is_not_damage(at: int, value: int, called: str, restore: Restore) -> None:
    """A JPEG that no decoder here reads is refused by the name of its process, never as damaged."""
    data = bytearray(SOUND["baseline.jpg"]())
    data[data.index(b"\xff\xc0") + at] = value
    with pytest.raises(Unsupported, match=f"{called}.*not damaged"):
        restore(bytes(data), "a.jpg")


def test_a_complaint_about_a_header_is_harmless(restore: Restore) -> None:
    """An Adobe segment with an unknown transform costs nothing: both decoders read every row alike, white margins too."""
    framed = pixels()
    framed[-40:] = 255
    file = io.BytesIO()
    Image.fromarray(framed).save(file, "JPEG", quality=92)
    data = file.getvalue()
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\2"
    made = restore(data[:2] + adobe + data[20:], "a.jpg")
    assert made.damage == ()
    assert any("outside its pixels" in note for note in made.notes)


def test_rows_of_one_colour_count_as_decoded(tmp_path: Path) -> None:
    """Of a damaged strip among white ones, only the damaged strip's rows are missing."""
    file = io.BytesIO()
    framed = pixels()
    framed[:64] = 255
    tifffile.imwrite(file, framed, photometric="rgb", rowsperstrip=16, compression="zlib", metadata=None)
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        offset = opened.pages[0].dataoffsets[6]
    data[offset + 2 : offset + 200] = bytes(198)
    source = tmp_path / "a.tif"
    source.write_bytes(data)
    page = read_pages(source, "a.tif")[0][0]
    assert examine(source, page, "a.tif", tmp_path / "scratch").rows == HEIGHT - 16


@pytest.mark.parametrize("compression", [None, "zlib", "zstd"])
def test_colours_multiplied_with_alpha_are_no_damage(compression: str | None, restore: Restore, tmp_path: Path) -> None:
    """One decoder divides by alpha and the other does not; the picture is sound, and divided by whichever decoder reads it."""
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, WIDTH // 2 :] = 128
    stored = np.concatenate([(pixels() * (alpha / 255)).round().astype(np.uint8), alpha], axis=2)
    file = io.BytesIO()
    options = {"photometric": "rgb", "extrasamples": [1], "metadata": None, "compression": compression}
    tifffile.imwrite(file, stored, **options)
    made = restore(file.getvalue(), "a.tif")
    assert made.damage == ()
    found = tifffile.imread(tmp_path / "a.tif").astype(int)
    assert np.abs(found[..., :3] - pixels().astype(int)).max() <= 2
    assert (found[..., 3:] == alpha).all()


def test_rows_beyond_a_strips_own_are_no_damage(restore: Restore) -> None:
    """A deflated strip that holds more rows than it states is read alike by both decoders."""
    data = bytearray(strips("zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        page = opened.pages[0]
        last, count = page.dataoffsets[-1], page.databytecounts[-1]
        place, size = page.tags[273], page.tags[279]
    longer = zlib.compress(zlib.decompress(bytes(data[last : last + count])) + bytes(WIDTH * 3 * 5))
    at = len(data)
    data += longer
    data[place.valueoffset + 4 * (place.count - 1) : place.valueoffset + 4 * place.count] = at.to_bytes(4, "little")
    data[size.valueoffset + 4 * (size.count - 1) : size.valueoffset + 4 * size.count] = len(longer).to_bytes(
        4, "little"
    )
    made = restore(bytes(data), "a.tif")
    assert made.damage == ()


def test_a_transparent_grey_of_two_bits_is_no_damage(restore: Restore) -> None:
    """A sound PNG of 2 bits with a transparent level is not called damaged, though Pillow compares that level unscaled."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    rows = b"".join(b"\0" + bytes((0b00011011,)) * 4 for _ in range(16))
    header = (16).to_bytes(4, "big") * 2 + bytes((2, 0, 0, 0, 0))
    data = chunk(b"IHDR", header) + chunk(b"tRNS", b"\0\1") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    made = restore(b"\x89PNG\r\n\x1a\n" + data, "a.png")
    assert made.damage == ()


@pytest.mark.parametrize("limits", ["full", "limited"])
def test_grey_avif_has_its_own_black_and_white(limits: str, restore: Restore, tmp_path: Path) -> None:
    """An AVIF without colour planes comes back with the levels that were written, whatever range its samples use."""
    grey = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "AVIF", quality=100, subsampling="4:0:0", range=limits)
    assert read_pages(io.BytesIO(file.getvalue()), "a.avif")[0][0].picture.decoder == "libavif"
    made = restore(file.getvalue(), "a.avif", image_format="png")
    assert made.damage == ()
    with Image.open(tmp_path / "a.avif") as image:
        found = np.asarray(image.convert("L")).astype(int)
    assert np.abs(found - grey).max() <= 4
