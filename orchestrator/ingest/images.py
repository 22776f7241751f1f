"""Ingest of still images: format, header, name of the result."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import BinaryIO

from contract.errors import BadInput
from contract.job import Item, Kind, Spec
from media.images.bands import BAND, band_count
from media.images.header import Picture, read_pages, read_picture
from media.images.output_plan import choose, choose_for, result_name
from media.images.sniff import HEAD, OWN_SUFFIXES, READ_SUFFIXES, refused, sniff
from media.opening import open_media

_OTHERS = frozenset(
    {
        ".tga",
        ".pcd",
        ".eps",
        ".ps",
        ".svg",
        ".exr",
        ".hdr",
        ".pcx",
        ".sgi",
        ".rgb",
        ".ras",
        ".fits",
        ".fit",
        ".psb",
        ".xcf",
        ".ico",
        ".cur",
        ".pict",
    }
    | {
        ".pct",
        ".wmf",
        ".emf",
        ".djvu",
        ".jxr",
        ".wdp",
        ".jng",
        ".mng",
        ".iff",
        ".lbm",
        ".cr2",
        ".cr3",
        ".crw",
        ".nef",
        ".nrw",
        ".arw",
        ".srf",
    }
    | {
        ".sr2",
        ".dng",
        ".orf",
        ".raf",
        ".rw2",
        ".pef",
        ".x3f",
        ".mrw",
        ".3fr",
        ".iiq",
        ".erf",
        ".kdc",
        ".dcr",
        ".mos",
        ".raw",
    }
)
"""Suffixes of still images that Respool does not restore."""
_NAMED_SO = frozenset({".dpx"}.union(READ_SUFFIXES, _OTHERS, *OWN_SUFFIXES.values()))
"""Suffixes by which a file that is neither an image nor a film counts as an unreadable image, as its owner would call it."""


def is_image(path: Path) -> bool:
    """Return True when the first bytes of `path` are those of an image format, restorable or not, whatever its suffix.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    return sniff(head) is not None or refused(head) is not None


def kind_by_name(name: str) -> Kind:
    """Return the kind of a file that cannot be opened, by its suffix: an archive's images are called so."""
    return "image" if PurePosixPath(name).suffix.lower() in _NAMED_SO else "video"


def kind_of(path: Path, name: str) -> Kind:
    """Return the kind of the file at `path`, called `name`.

    Its bytes decide; where they are of no known format (an empty file, a scrambled one), its suffix. Raises OSError when
    the file cannot be read.
    """
    if is_image(path):
        return "image"
    if kind_by_name(name) == "video":
        return "video"
    try:
        with path.open("rb") as file, open_media(file, name):
            return "video"
    except BadInput:
        return "image"


def probe_image(source: Path | BinaryIO, name: str) -> Picture:
    """Read the header of a source; raise BadInput (or Unsupported) naming `name`. Pixels are not decoded."""
    return read_picture(source, name)


def plan_image(
    source: Path | BinaryIO, name: str, spec: Spec, network_scale: int
) -> tuple[str, Picture, tuple[str, ...]]:
    """Return the result's name, the header and notes of an image under `spec`; raise as `probe_image`.

    `network_scale` is the generator's own factor, used when the spec names none.
    """
    picture = probe_image(source, name)
    target = choose(picture, name, spec, network_scale)
    return result_name(name, target), picture, target.notes


def is_large(item: Item) -> bool:
    """Return True for an image that several workers may share; `plan_bands` then gives the number of parts."""
    return item.kind == "image" and item.pixels > 2 * BAND


def plan_bands(source: BinaryIO, item: Item, spec: Spec, network_scale: int) -> int:
    """Return the number of bands of a large image; 1 for one that goes to one worker. Raises as `probe_image`."""
    pages, _ = read_pages(source, item.name)
    if len(pages) > 1 or spec.model == "identity" or spec.faces is not None:
        return 1  # a face may lie across the border of two bands
    picture = pages[0].picture
    if picture.decoder != "libvips":
        return 1  # these decoders hold the whole picture, and each of several workers would
    target = choose_for(picture, item.result, spec, network_scale)
    return band_count(picture.width, picture.height, target.height)
