"""Header of a still image, read without decoding pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pyvips
from msgspec import Struct, structs

from contract.errors import BadInput, Unsupported
from contract.job import Natural, Positive
from media.images import foreign, metadata_png, tiff, tiff_samples, vips
from media.images.camera_raw import REDUCED, refuse_raw
from media.images.colour_signal import HDR, heif_properties, monochrome, nclx_signal, png_signal
from media.images.foreign import tiff as foreign_tiff
from media.images.metadata_png import legacy_orientation
from media.images.sniff import FOREIGN, HEAD, Format, moving, refused, sniff
from media.images.tiff import Directory
from media.images.tiff_samples import PALETTE, PHOTOMETRIC, Extra

MAX_PIXELS = 1 << 32
"""65,536 x 65,536: past it a header is taken for a trap rather than for a scan."""
MAX_SIDE = 1 << 18
"""Four times the widest panorama that a JPEG can hold."""
DEFLATE_RATIO = 1032
"""The most that deflate can pack into a byte (zlib's own figure): a PNG that claims more is cut off or a trap."""
MAX_PROFILE = 16 << 20
"""Bytes of an ICC profile; the largest press profiles in circulation have 3 MB."""


class Picture(Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a still image. `width` and `height` are upright: after the EXIF orientation was applied.

    `depth` is bits a sample as stored (1, 2, 4, 8, 10, 12, 16, 32); `floating` marks IEEE samples. `dpi` is
    (horizontal, vertical) as stated, upright. `pages` counts the pages of a TIFF. `alpha` says that there is a band beyond
    the colours, `extra` what it means. `profile`: an ICC profile is there, and of CMYK one that fits. `signal` are H.273 code
    points of primaries and transfer, where the file states them; `white` is the stated largest sample, as a share of the largest possible one
    (of floats, as it is). `decoder` says who reads the pixels:
    libvips, tifffile (compressions of a TIFF that libvips lacks), libavif (grey AVIF), or the format's own module in `media.images.foreign`.
    """

    format: Format
    width: Positive
    height: Positive
    mode: Literal["grey", "rgb", "cmyk"]
    alpha: bool
    depth: Positive
    floating: bool = False
    palette: bool = False
    lossless: bool = True
    pages: Positive = 1
    orientation: Natural = 1
    profile: bool = False
    extra: Extra = "alpha"
    signal: tuple[int, int] | None = None
    white: float | None = None
    decoder: Literal["libvips", "tifffile", "foreign", "libavif"] = "libvips"

    @property
    def hdr(self) -> bool:
        """True for PQ and HLG."""
        return self.signal is not None and self.signal[1] in HDR

    @property
    def deep(self) -> bool:
        """True when samples carry more than 8 bits."""
        return self.depth > 8


@dataclass(frozen=True)
class Page:
    """One picture of a file: its place in the file's chain of pages, its header, and its directory if it is a TIFF's."""

    index: int
    picture: Picture
    directory: Directory | None = None


def stored_size(picture: Picture) -> tuple[int, int]:
    """(width, height) as stored, before the orientation is applied."""
    turned = picture.orientation in (5, 6, 7, 8)
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def read_picture(file: Path | BinaryIO, name: str) -> Picture:
    """Read the header of `file`, called `name` in messages; no pixel is decoded. Of a TIFF, the first page.

    Raises BadInput when it is not an image or is broken, Unsupported when restoring it would lose something.
    """
    return read_pages(file, name)[0][0].picture


def read_pages(file: Path | BinaryIO, name: str) -> tuple[list[Page], list[str]]:
    """Every picture that `file` holds, and notes on those that are left out; raises as `read_picture`."""
    head = _head(file)
    form = sniff(head)
    if form is None:
        raise _stranger(head, name)
    if form in FOREIGN:
        return _foreign(file, form, name)
    if form == "png" and head[12:16] == b"CgBI":
        raise Unsupported(
            f"{name} is a PNG in Apple's own form (CgBI); turn it back with `pngcrush -revert-iphone-optimizations`."
        )
    if form != "tiff":
        image = vips.load(file, form, name)
        return [Page(0, describe(image, form, name, file))], []
    with opened(file) as stream:
        notes: list[str] = []
        chain = list(tiff.directories(stream, name, notes))
        if not chain:
            raise BadInput(f"{name} is a TIFF without any page; copy it again from where it came.")
        refuse_raw(stream, chain, head, name)
    kept = [n for n, page in enumerate(chain) if not page.number(tiff.SUBFILE, 0) & REDUCED]
    if not kept:
        kept = [0]
        notes.append("the only picture of the TIFF is marked as a reduced one; it was restored as it is")
    if len(kept) < len(chain):
        notes.append(f"{len(chain) - len(kept)} reduced pages or masks of the TIFF were left out")
    pages = []
    for n in kept:
        what = name if len(kept) == 1 else f"{name} page {n + 1}"
        tiff_samples.check(chain[n], what)
        image, decoder = _opened_page(file, n, chain[n], what)
        picture = describe(image, form, what, file)
        palette = chain[n].number(PHOTOMETRIC, 2) == PALETTE
        meant = tiff_samples.extra_meaning(chain[n]) if picture.alpha else picture.extra
        picture = structs.replace(
            picture, pages=len(kept), palette=palette, extra=meant, decoder=decoder, white=tiff_samples.white(chain[n])
        )
        pages.append(Page(n, picture, chain[n]))
    return pages, notes


def _opened_page(
    file: Path | BinaryIO, index: int, page: Directory, what: str
) -> tuple[pyvips.Image, Literal["libvips", "tifffile"]]:
    """Return a TIFF page's header and who decodes it: libvips, or tifffile where libvips stumbles over a tag."""
    decoder = tiff_samples.decoder(page, what)
    try:
        return vips.load(file, "tiff", what, page=index), decoder
    except BadInput as error:
        if not isinstance(file, Path):
            raise
        try:
            return foreign_tiff.load(file, index, what, page.number(PHOTOMETRIC, 1) < 2), "tifffile"
        except BadInput:
            raise error from None


def _foreign(file: Path | BinaryIO, form: Format, name: str) -> tuple[list[Page], list[str]]:
    """Return the only picture of a file that libvips does not read, and notes."""
    found = foreign.header(file, form, name)
    picture = Picture(
        format=form,
        width=found.width,
        height=found.height,
        mode=found.mode,
        alpha=found.alpha,
        depth=found.depth,
        floating=found.depth == 32,
        palette=found.palette,
        lossless=found.lossless,
        profile=bool(found.metadata.icc) if found.mode != "cmyk" else (found.metadata.icc or b"")[16:20] == b"CMYK",
        signal=found.signal,
        decoder="foreign",
    )
    return [Page(0, picture)], list(found.notes)


def _stranger(head: bytes, name: str) -> BadInput:
    other = refused(head)
    if other == "DPX":
        return Unsupported(
            f"{name} is a DPX file, which is restored as a film (name its folder with --sequence and a frame rate); convert it "
            "to a 16-bit TIFF to restore it as an image."
        )
    if other:
        return Unsupported(
            f"{name} is in the format {other}, which Respool does not restore; convert it to TIFF or PNG first."
        )
    if not head:
        return BadInput(f"{name} is empty; copy it again from where it came.")
    return BadInput(
        f"{name} is not an image that Respool knows (JPEG, PNG, TIFF, WebP, AVIF, JPEG 2000, JPEG XL, HEIC, BMP, GIF, PNM, PSD); leave it out."
    )


@contextmanager
def opened(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """`file` as a binary stream; one that is a stream already stays open."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            yield stream
    else:
        yield file


def describe(image: pyvips.Image, form: Format, name: str, file: Path | BinaryIO) -> Picture:
    """Return the Picture of an opened libvips image; raises as `read_picture`."""
    if image.width * image.height > MAX_PIXELS or max(image.width, image.height) > MAX_SIDE:
        raise Unsupported(
            f"{name} says it is {image.width} x {image.height} pixels, but Respool takes at most {MAX_PIXELS} pixels and "
            f"{MAX_SIDE} a side; cut it first."
        )
    if form == "png" and image.width * image.height * image.bands > _size(file) * DEFLATE_RATIO * 8:
        raise BadInput(
            f"{name} says it is {image.width} x {image.height} pixels, which {_size(file)} bytes cannot hold; copy it again."
        )
    if image.format not in ("uchar", "ushort", "float", "double"):
        raise Unsupported(f"{name} has samples of type {image.format}; convert it to 8 or 16 bit unsigned, or float.")
    if image.interpretation not in ("b-w", "grey16", "srgb", "rgb", "rgb16", "scrgb", "cmyk", "multiband"):
        raise Unsupported(f"{name} is in colour space {image.interpretation}; convert it to RGB first.")
    colours = 4 if image.interpretation == "cmyk" else 3 if image.bands >= 3 else 1
    if image.bands - colours not in (0, 1) or (colours == 3 and image.interpretation in ("b-w", "grey16")):
        raise Unsupported(
            f"{name} has {image.bands} bands of {image.interpretation}; expected grey, RGB or CMYK with alpha at most."
        )
    pictures = _get(image, "n-pages", 1)
    if pictures > 1 and form != "tiff":
        raise Unsupported(
            f"{name} holds {pictures} images (an animation or a burst); extract the one to restore first."
        )
    if (form == "png" and _animated(file)) or (form == "avif" and _moving(file)):
        raise Unsupported(f"{name} is an animated {form.upper()}; extract the picture to restore first.")
    profile = bytes(image.get("icc-profile-data")) if image.get_typeof("icc-profile-data") else b""
    if len(profile) > MAX_PROFILE:
        raise BadInput(f"{name} carries an ICC profile of more than {MAX_PROFILE} bytes; strip it first.")
    floating = image.format in ("float", "double")
    stored = {"uchar": 8, "ushort": 16, "float": 32, "double": 64}[image.format]
    orientation = _get(image, "orientation", 1)
    signal = None
    decoder: Literal["libvips", "libavif"] = "libvips"
    if form == "png":
        with opened(file) as stream:
            orientation = legacy_orientation(stream) if orientation == 1 else orientation
            signal = png_signal(metadata_png.colour_chunks(stream))
    elif form == "avif":
        with opened(file) as stream:
            properties = heif_properties(stream)
            signal, decoder = nclx_signal(properties), "libavif" if monochrome(properties) else "libvips"
    turned = orientation in (5, 6, 7, 8)
    return Picture(
        format=form,
        width=image.height if turned else image.width,
        height=image.width if turned else image.height,
        mode="cmyk" if colours == 4 else "rgb" if colours == 3 else "grey",
        alpha=image.bands > colours,
        depth=stored if floating else _get(image, "bits-per-sample", stored),
        floating=floating,
        palette=bool(_get(image, "palette", 0)),
        lossless=_lossless(form, file),
        orientation=orientation,
        signal=signal,
        decoder=decoder,
        profile=bool(profile) if colours < 4 else profile[16:20] == b"CMYK",
    )


def _size(file: Path | BinaryIO) -> int:
    return file.stat().st_size if isinstance(file, Path) else file.seek(0, 2)


def _get(image: pyvips.Image, field: str, default: int) -> int:
    return int(image.get(field)) if image.get_typeof(field) else default


def _head(file: Path | BinaryIO, size: int = HEAD) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(size)
    file.seek(0)
    head = file.read(size)
    file.seek(0)
    return head


def _lossless(form: Format, file: Path | BinaryIO) -> bool:
    """Return False for JPEG, AVIF and lossy WebP: their pixels were already approximated once."""
    if form == "webp":
        head = _head(file, 1 << 16)
        return b"VP8L" in head and b"VP8 " not in head
    return form in ("png", "tiff")


def _moving(file: Path | BinaryIO) -> bool:
    with opened(file) as stream:
        return moving(stream)


def _animated(file: Path | BinaryIO) -> bool:
    """Return True when an acTL chunk stands before the first IDAT, as the APNG specification demands."""
    head = _head(file, 1 << 20)
    at = 8
    while at + 8 <= len(head):
        kind = head[at + 4 : at + 8]
        if kind == b"acTL":
            return True
        if kind == b"IDAT":
            return False
        at += 12 + int.from_bytes(head[at : at + 4], "big")
    return False
