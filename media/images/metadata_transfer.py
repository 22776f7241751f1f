"""Transfer of a source's metadata to the result: update the dimensions, list what could not be carried over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import pyvips
from msgspec import structs

from contract.errors import BadInput
from contract.provenance import Making
from contract.severity import Loss
from media.images import (
    exif,
    foreign,
    metadata_jpeg,
    metadata_png,
    metadata_tiff,
    metadata_webp,
    photoshop_geometry,
    tiff,
    vips,
    xmp,
    xmp_geometry,
)
from media.images.colour_signal import described, heif_properties, is_plain, profile
from media.images.encoded_payload import content_sha256
from media.images.geometry import Geometry
from media.images.header import Page, Picture, opened, stored_size
from media.images.metadata import Density, Metadata
from media.images.output_plan import Target
from media.images.pixels import srgb_profile
from media.images.sniff import FOREIGN, Format
from media.images.tiff import Directory, Tag


def told(metadata: Metadata, made: Making | None, plain: Sequence[Path]) -> tuple[Metadata, list[str]]:
    """`metadata` that say how the result was made, and notes; as they are for a `made` of None.

    `plain` are the encoded pixels of all pages, whose hash is recorded too; none where they are not encoded yet (AVIF).
    """
    if made is None:
        return metadata, []
    made = structs.replace(made, content=content_sha256(plain) if plain else "")
    packet, notes = xmp.told(metadata.xmp, made)
    return replace(metadata, xmp=packet), notes


def read_metadata(file: Path | BinaryIO, page: Page, name: str) -> Metadata:
    """Return the metadata of one page of a source. AVIF's comes from libvips' own fields."""
    picture = page.picture
    if picture.format in FOREIGN:
        metadata = foreign.header(file, picture.format, name).metadata
    elif picture.format == "tiff":
        return metadata_tiff.read(page.directory or Directory({}))
    elif picture.format == "avif":
        metadata = _avif(file, vips.load(file, picture.format, name))
    else:
        with opened(file) as stream:
            if picture.format == "png":
                metadata = metadata_png.read(stream, picture.mode == "grey")
            else:
                metadata = {"jpeg": metadata_jpeg.read, "webp": metadata_webp.read}[picture.format](stream)
    if metadata.exif is not None and metadata.density is None:
        metadata = replace(metadata, density=_exif_density(metadata.exif))
    return _signalled(metadata, picture)


def _avif(file: Path | BinaryIO, image: pyvips.Image) -> Metadata:
    """AVIF's blocks, and notes on properties that a result does not carry."""
    with opened(file) as stream:
        found = heif_properties(stream)
    notes = [said for kind, said in _HEIF_LEFT.items() if kind in found]
    if b"auxC" in found and not image.hasalpha():
        notes.append(
            Loss("an auxiliary picture of the AVIF (a depth or gain map) was left out: it is of the picture before")
        )
    return Metadata(
        icc=_field(image, "icc-profile-data"),
        exif=_bare(_field(image, "exif-data")),
        xmp=_field(image, "xmp-data"),
        notes=tuple(notes),
    )


_HEIF_LEFT = {
    b"clli": Loss("the content light level was left out"),
    b"mdcv": Loss("the mastering display's description was left out"),
    b"amve": Loss("the viewing environment's description was left out"),
    b"lsel": Loss("the choice of a layer was left out"),
}


def _signalled(metadata: Metadata, picture: Picture) -> Metadata:
    """Metadata with the profile that the file's code points stand for, where there is no ICC profile."""
    signal = picture.signal
    if signal is None or metadata.icc is not None or picture.hdr or is_plain(signal):
        return metadata
    made = profile(signal, picture.mode == "grey")
    if made is None:
        return replace(
            metadata,
            notes=(
                *metadata.notes,
                Loss(f"the colours ({described(signal)}) were taken for sRGB: their code points are unknown"),
            ),
        )
    return replace(metadata, meaning=made)


def metadata_for(file: Path | BinaryIO, page: Page, target: Target, name: str) -> tuple[Metadata, list[str]]:
    """Metadata for the result of one page of `file`, and notes; raises BadInput naming `name`."""
    return carried(read_metadata(file, page, name), page.picture, target, srgb_profile())


def _field(image: pyvips.Image, name: str) -> bytes | None:
    return bytes(image.get(name)) if image.get_typeof(name) else None


def _bare(block: bytes | None) -> bytes | None:
    return block.removeprefix(b"Exif\0\0") if block else None


def _exif_density(block: bytes) -> Density | None:
    try:
        return metadata_tiff.density(tiff.parse(block, "the EXIF block"))
    except BadInput:
        return None  # `updated` says that the block is broken


def carried(metadata: Metadata, picture: Picture, target: Target, srgb: bytes) -> tuple[Metadata, list[str]]:
    """Metadata for the result of `picture`, and notes. `srgb` is the profile for pixels that had to become sRGB."""
    notes = list(metadata.notes)
    size = (target.width, target.height)
    scale = (Fraction(target.width, picture.width), Fraction(target.height, picture.height))
    turned = picture.orientation in (5, 6, 7, 8)
    density = metadata.density.turned() if metadata.density and turned else metadata.density
    density = density.scaled(*scale) if density else None
    if density and density.unit != "none":
        x, y = density.per_inch()
        notes.append(f"the density became {float(x):.6g} x {float(y):.6g} dpi, so that the physical size stays")
    resolution = metadata_tiff.density_tags(density) if density else {}
    geometry = Geometry(picture.orientation, stored_size(picture), size)
    block, page, said = _exif(metadata, picture.format, target, scale, geometry, resolution)
    notes += said
    if target.format == "webp" and resolution and block is None:
        block = tiff.block(Directory(resolution))
    icc = srgb if picture.mode == "cmyk" else metadata.icc
    packet, photoshop, said = _about_pixels(metadata, geometry)
    notes += said
    kept = replace(metadata, icc=icc, exif=block, xmp=packet, photoshop=photoshop, density=density, page=page, notes=())
    kept, said = _colours(kept, picture, target)
    notes += said
    kept, said = _others(kept, picture, target)
    notes += said
    if target.format != "png":
        if metadata.texts:
            notes.append(
                Loss(f"{len(metadata.texts)} PNG text chunks were left out: the result's format cannot hold them")
            )
        kept = replace(kept, colour=(), texts=())
    if target.format == "tiff" and metadata.comments:
        notes.append(Loss("JPEG comments were left out: TIFF has no place for them"))
    if target.format == "avif" and (metadata.iptc or metadata.photoshop or metadata.comments):
        notes.append(Loss("IPTC, Photoshop blocks and comments were left out: AVIF cannot hold them"))
    return kept, notes


def _colours(metadata: Metadata, picture: Picture, target: Target) -> tuple[Metadata, list[str]]:
    """Code points and gamma as the result's format says them: chunks of a PNG, else an ICC profile."""
    if picture.hdr and picture.signal is not None:
        chunk = (b"cICP", bytes((*picture.signal, 0, 1)))
        others = tuple(part for part in metadata.colour if part[0] != b"cICP")
        return replace(metadata, colour=(*others, chunk)), [
            f"HDR ({described(picture.signal)}): code values were processed as they are"
        ]
    stated = any(kind in (b"cICP", b"gAMA") for kind, _ in metadata.colour)
    if metadata.meaning is None or metadata.icc is not None or (target.format == "png" and stated):
        return metadata, []
    return replace(metadata, icc=metadata.meaning), [
        "the colours that the file states by numbers are stated by an ICC profile now"
    ]


def _others(metadata: Metadata, picture: Picture, target: Target) -> tuple[Metadata, list[str]]:
    """Keep what is carried as it is only where source and result have the same format."""
    if target.format == picture.format or not metadata.others:
        return metadata, []
    names = ", ".join(
        f"APP{kind - 0xE0}" if isinstance(kind, int) else kind.decode("latin-1") for kind, _ in metadata.others
    )
    return replace(metadata, others=()), [Loss(f"{names} left out: the result's format cannot hold them")]


def _about_pixels(metadata: Metadata, geometry: Geometry) -> tuple[bytes | None, bytes | None, list[str]]:
    """(XMP packet, Photoshop resources) with what is about pixels brought to the result, and notes."""
    packet, photoshop = metadata.xmp, metadata.photoshop
    notes: list[str] = []
    if packet is not None:
        try:
            packet, notes = xmp_geometry.moved(packet, geometry)
        except ValueError:
            notes = ["the XMP packet is broken; what it says of pixels was not changed"]
    if photoshop is not None:
        photoshop, said = photoshop_geometry.moved(photoshop, geometry)
        notes = notes + said
    return packet, photoshop, notes


def _exif(
    metadata: Metadata,
    source: Format,
    target: Target,
    scale: tuple[Fraction, Fraction],
    geometry: Geometry,
    resolution: dict[int, Tag],
) -> tuple[bytes | None, Directory | None, list[str]]:
    """EXIF block and TIFF directory for the result: one of them at most is set."""
    size = (target.width, target.height)
    if source == "tiff" and metadata.page is not None:
        if target.format == "tiff":
            page, notes = exif.moved_page(metadata.page, geometry)
            return None, page, notes + _maker(page)
        page, notes = exif.moved_page(metadata.page, geometry)
        return exif.from_page(page, size, resolution), None, notes + _maker(page)
    if metadata.exif is None:
        return None, None, []
    if target.format != "tiff":
        block, notes = exif.updated(metadata.exif, size, scale, geometry)
        return block, None, notes
    said: list[str] = []
    try:
        page, notes = exif.moved_page(tiff.parse(metadata.exif, "the EXIF block", said), geometry)
    except BadInput as error:
        return None, None, [Loss(f"EXIF was left out: {error}")]
    return None, page, said + notes + _maker(page)


def _maker(page: Directory) -> list[str]:
    inner = page.children.get(tiff.EXIF_IFD)
    if inner is None or exif.MAKER_NOTE not in inner.tags:
        return []
    return [Loss("the camera's maker note was carried as bytes; offsets inside it may not resolve at its new place")]


def attach(plain: Path, metadata: Metadata, target: Target, out: Path) -> list[str]:
    """Make `out` from the encoded pixels `plain` and `metadata`; returns what the format could not take."""
    if target.format == "tiff":
        metadata_tiff.write([[plain]], [metadata], [(target.width, target.height)], out)
        return []
    if target.format == "avif":
        plain.rename(out)
        return []
    writer = {"jpeg": metadata_jpeg.write, "png": metadata_png.write, "webp": metadata_webp.write}[target.format]
    return writer(plain, metadata, out)
