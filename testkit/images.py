"""Kinds of images, written by other libraries than the one that reads them, restored and compared with their source."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pyvips
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from contract.job import Spec
from contract.settings import Settings
from media.images.pixels import srgb_profile
from testkit.exiftool import metadata_kept
from workers.generators.registry import load
from workers.images.image import enhance_image

CMYK_PROFILE: bytes = pyvips.Operation.call("profile_load", "cmyk")
"""A press profile, of which only the bytes are used here."""
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>Archiv</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta>'
)
IPTC = b"\x1c\x02\x78\x00\x07Caption"
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WebP": ".webp", "AVIF": ".avif"}
INKS = 0.6
"""Mean difference in levels between two versions of LittleCMS that go through the same tables at 8 and at 16 bits."""
LOSSY = 3.0
"""Mean error in code values of 255 that a second JPEG, WebP or AVIF generation may add."""


@dataclass(frozen=True)
class Case:
    """One kind of image: `mode` is Pillow's, `depth` bits a sample (32 is float), `options` the writer's."""

    form: str
    mode: str
    depth: int
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """Return the case in a few words."""
        return f"{self.form} {self.mode} {self.depth} {self.note}".strip()


def cases() -> Iterator[Case]:
    """Format x depth x mode, and the layouts that scanners and editors write."""
    for mode in ("L", "RGB", "CMYK"):
        yield Case("JPEG", mode, 8, {"quality": 95})
    yield Case("JPEG", "RGB", 8, {"quality": 95, "progressive": True}, "progressive")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield Case("PNG", mode, 8)
    for mode in ("L", "RGB", "RGBA"):
        yield Case("PNG", mode, 16)
    for mode in ("L", "LA", "RGB", "RGBA"):
        for depth in (8, 16, 32):
            yield Case("TIFF", mode, depth)
    yield Case("TIFF", "CMYK", 8)
    yield Case("TIFF", "1", 8, {"compression": "group4"}, "CCITT G4")
    yield Case("TIFF", "P", 8)
    for options, note in (
        ({"compression": "zlib", "predictor": True}, "deflate, differenced"),
        ({"tile": (32, 32)}, "tiled"),
        ({"bigtiff": True}, "BigTIFF"),
        ({"byteorder": ">"}, "big-endian"),
        ({"planarconfig": "separate"}, "planar"),
    ):
        yield Case("TIFF", "RGB", 16, options, note)
    for compression in ("tiff_lzw", "jpeg", "packbits"):
        yield Case("TIFF", "RGB", 8, {"compression": compression}, compression.removeprefix("tiff_"))
    for mode in ("RGB", "RGBA"):
        yield Case("WebP", mode, 8, {"lossless": True}, "lossless")
        yield Case("WebP", mode, 8, {"quality": 95}, "lossy")
        yield Case("AVIF", mode, 8, {"quality": 95, "subsampling": "4:4:4"})


def picture(mode: str, depth: int, height: int = 60, width: int = 80) -> np.ndarray[Any, Any]:
    """Draw a smooth colour picture with some texture, as samples of `depth`."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + n)) * np.cos(y / (7 - n)) for n in range(4)]
    count = {"1": 1, "L": 1, "LA": 2, "P": 3, "RGB": 3, "RGBA": 4, "CMYK": 3}[mode]
    plain = np.stack([(wave + 1.2) / 2.4 for wave in waves[:count]], -1)
    if depth == 32:
        return plain.astype(np.float32).squeeze()
    kind = np.uint16 if depth == 16 else np.uint8
    return (plain * np.iinfo(kind).max).round().astype(kind).squeeze()


def smooth(width: int, height: int) -> np.ndarray[Any, Any]:
    """Return a gradient of `height` x `width` pixels, RGB, uint8."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 90)], -1).astype(np.uint8)


def write_noise(path: Path, seed: int) -> Path:
    """Write a picture of noise, 24 x 32 pixels of RGB, that no other seed makes; return `path`."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write(case: Case, path: Path) -> None:
    """Write the source, with everything that its format can carry."""
    pixels = picture(case.mode, case.depth)
    if (
        case.form == "TIFF"
        and (case.depth > 8 or not {"compression"} & case.options.keys() - {"zlib"})
        and case.mode not in ("1", "P", "CMYK")
    ):
        _write_tiff(case, pixels, path)
        return
    if case.form == "PNG" and case.depth == 16 and case.mode != "L":  # which Pillow cannot write
        order = [2, 1, 0, 3][: pixels.shape[2]]
        assert cv2.imwrite(str(path), pixels[..., order])
        return
    image = Image.fromarray(pixels)
    if case.mode == "1":
        image = image.point(lambda v: 255 * (v > 128)).convert("1")
    elif case.mode == "P":
        image = image.quantize(32)
    elif case.mode == "CMYK":
        image = image.convert("CMYK")
    exif = Image.Exif()
    exif[0x013B] = "Artist"
    exif[0x010F], exif[0x0132] = "Scanner & Söhne", "2001:02:03 04:05:06"
    exif.get_ifd(0x8769).update({0x9003: "1931:05:06 07:08:09", 0x9286: b"ASCII\0\0\0attic, box 7"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 30.0), 3: "E", 4: (11.0, 34.0, 0.0)})
    extra: dict[str, Any] = {"exif": exif, **case.options}
    if case.form != "WebP" and case.form != "AVIF":
        extra["dpi"] = (300, 300)
    if case.mode in ("RGB", "RGBA", "P"):
        extra["icc_profile"] = PROFILE
    elif case.mode == "CMYK":
        extra["icc_profile"] = CMYK_PROFILE
    if case.form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        extra["pnginfo"] = info
    elif case.form in ("JPEG", "WebP", "AVIF"):
        extra["xmp"] = XMP
    if case.form == "TIFF":
        del extra["exif"]
        extra["tiffinfo"] = {315: "Artist", 700: XMP}
    image.save(path, **extra)


def _write_tiff(case: Case, pixels: np.ndarray[Any, Any], path: Path) -> None:
    options = dict(case.options)
    alpha = case.mode in ("LA", "RGBA")
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, -1, 0).copy()
    with tifffile.TiffWriter(
        path, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("byteorder", "<")
    ) as tiff:
        tiff.write(
            pixels,
            photometric="rgb" if case.mode.startswith("RGB") else "minisblack",
            planarconfig=options.pop("planarconfig", "contig"),
            extrasamples=["unassalpha"] if alpha else None,
            iccprofile=PROFILE if case.mode.startswith("RGB") else None,
            resolution=(300, 300),
            resolutionunit=2,
            software=False,
            metadata=None,
            extratags=[(700, 1, len(XMP), XMP, True), (33723, 7, len(IPTC), IPTC, True), (315, 2, 7, "Artist", True)],
            **options,
        )


@dataclass
class Seen:
    """Pixels and facts that another library reads from a file. `pixels` are float in 0..1 (float TIFF as it is)."""

    pixels: np.ndarray[Any, Any]
    depth: int
    facts: dict[str, object]


def look(path: Path, form: str) -> Seen:
    """Read pixels and metadata with tifffile (TIFF) or Pillow (everything else)."""
    if form == "TIFF":
        with tifffile.TiffFile(path) as tiff:
            page = cast("tifffile.TiffPage", tiff.pages[0])
            tags = {tag.code: tag.value for tag in page.tags.values()}
            simple = page.photometric not in (3, 5) and int(page.compression) in (1, 8, 32946)
            pixels = page.asarray() if simple else None
            if pixels is not None and page.planarconfig == 2:
                pixels = np.moveaxis(pixels, 0, -1)
        resolution = Fraction(*tags[282]) if 282 in tags else None
        facts = {
            "icc": tags.get(34675),
            "xmp": tags.get(700),
            "iptc": tags.get(33723),
            "artist": tags.get(315),
            "dpi": resolution,
        }
        if pixels is not None and pixels.dtype.kind == "f":
            return Seen(pixels.astype(float), 32, facts)
        if pixels is not None and pixels.dtype != bool:
            return Seen(pixels / np.iinfo(pixels.dtype).max, pixels.itemsize * 8, facts)
        with Image.open(path) as image:
            return Seen(_flat(image), 8, facts)
    if form == "PNG" and _deep_colour(path):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
        with Image.open(path) as image:
            return Seen(pixels / 65535, pixels.itemsize * 8, dict.fromkeys(("icc", "xmp", "iptc", "artist", "dpi")))
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        facts = {
            "icc": image.info.get("icc_profile"), "xmp": image.info.get("xmp"), "iptc": None,
            "artist": exif.get(0x013B), "dpi": image.info.get("dpi", (None,))[0],
        }  # fmt: skip
        if image.mode.startswith("I"):
            return Seen(np.asarray(image).astype(float) / 65535, 16, facts)
        return Seen(_flat(image), 8, facts)


def _deep_colour(path: Path) -> bool:
    head = path.read_bytes()[:26]
    return head[24] == 16 and head[25] in (2, 6)


def _flat(image: Image.Image) -> np.ndarray[Any, Any]:
    if image.mode == "CMYK":
        given, plain = (ImageCms.ImageCmsProfile(io.BytesIO(d)) for d in (image.info["icc_profile"], srgb_profile()))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        image = ImageCms.profileToProfile(image, given, plain, renderingIntent=intent, outputMode="RGB") or image
    wanted = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
    return np.asarray(image.convert(wanted)).astype(float) / 255


def examine(case: Case, folder: Path) -> tuple[list[str], list[str]]:
    """Restore one case at its own size and at twice; return (cells of its row, problems)."""
    source = folder / f"source{SUFFIXES[case.form]}"
    write(case, source)
    given = look(source, case.form)
    wrong: list[str] = []
    cells = [case.name]
    notes: list[str] = []
    for scale in (1.0, 2.0):
        spec = Spec(model="lanczos", scale=scale)
        enhancer = load(spec, {}, Settings(device="cpu"))
        out = folder / f"out{SUFFIXES[case.form]}"
        made = enhance_image(source, out.name, spec, enhancer, out, lambda: None)
        notes = made.notes
        found = look(out, case.form)
        height, width = given.pixels.shape[:2]
        if found.pixels.shape[:2] != (round(height * scale), round(width * scale)):
            wrong.append(f"size {found.pixels.shape} at {scale}x")
        if found.depth != given.depth:
            wrong.append(f"{given.depth} bits became {found.depth}")
        if found.pixels.ndim != given.pixels.ndim or found.pixels.shape[2:] != given.pixels.shape[2:]:
            wrong.append(f"{given.pixels.shape[2:]} bands became {found.pixels.shape[2:]}")
        elif scale == 1.0:
            error = float(np.abs(found.pixels - given.pixels).mean() * 255)
            lossy = case.form in ("JPEG", "AVIF") or "lossy" in case.note
            cells.append("exact" if error == 0 else f"{error:.2f}")
            allowed = LOSSY if lossy else INKS if case.mode == "CMYK" else 0 if case.depth < 32 else 1e-4
            if error > allowed:
                wrong.append(f"mean error {error:.3f} levels")
        wrong += _metadata(case, given, found, scale, notes)
        found_tags, lost = metadata_kept(source, out)
        wrong += [f"exiftool no longer finds {name}" for name in lost]
    cells += [_mark(case, given.facts, name, wrong) for name in ("icc", "artist", "xmp", "iptc", "dpi")]
    cells.append(found_tags)
    cells.append("; ".join(dict.fromkeys(note for note in notes if not note.startswith("the density"))) or "-")
    return cells, wrong


def _metadata(case: Case, given: Seen, found: Seen, scale: float, notes: list[str]) -> list[str]:
    """List the metadata that went missing without a note."""
    wrong = []
    if given.facts["icc"] is not None and found.facts["icc"] != given.facts["icc"] and case.mode != "CMYK":
        wrong.append("icc is not byte-identical")
    lost = [name for name in ("artist", "xmp", "iptc") if given.facts[name] and not found.facts[name]]
    wrong += [f"{name} lost without a word" for name in lost if not any(name.upper() in note for note in notes)]
    if given.facts["dpi"]:
        expected = float(given.facts["dpi"]) * scale  # type: ignore[arg-type]
        if not found.facts["dpi"] or abs(float(found.facts["dpi"]) - expected) > 0.05:  # type: ignore[arg-type]
            wrong.append(f"dpi {found.facts['dpi']} instead of {expected}")
    return wrong


def _mark(case: Case, facts: dict[str, object], name: str, wrong: list[str]) -> str:
    if not facts[name]:
        return "-"
    if name == "icc" and case.mode == "CMYK":
        return "sRGB"
    return "LOST" if any(fault.startswith(name) for fault in wrong) else "kept"
