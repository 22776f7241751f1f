"""Pixels in and out: a source opened as plain grey or RGB samples, and raw scratch pixels encoded as a result.

Raw pixels are rows from top to bottom, samples interleaved, native byte order: uint8, uint16 or float32 as
the depth says (8; 10 to 16; 32), the alpha sample last and never premultiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyvips

from contract.errors import BadInput, Unsupported
from contract.images import vips
from contract.images.picture import Picture
from contract.images.target import Target

_FORMATS = {8: "uchar", 16: "ushort", 32: "float"}
JPEG_QUALITY = 95
"""Of libjpeg, without chroma subsampling: at this quality a photograph's error stays below one code value in the mean."""
WEBP_QUALITY = 95
AVIF_QUALITY = 90


def container(depth: int) -> int:
    """Bits of the raw sample that holds `depth` bits: 8, 16 or 32 (float)."""
    return 8 if depth <= 8 else 16 if depth <= 16 else 32


def sample_type(depth: int) -> np.dtype[np.generic]:
    """The numpy type of raw samples of `depth` bits."""
    return np.dtype({8: np.uint8, 16: np.uint16, 32: np.float32}[container(depth)])


def open_pixels(
    file: Path, picture: Picture, name: str, strict: bool = True, page: int = 0, anywhere: bool = False
) -> pyvips.Image:
    """The source as upright grey or RGB, with its alpha last, in the raw form of its depth; decoded row by row as asked for.

    `strict` makes a decoder's warning an error; `anywhere` lets rows be read in any order, from a decoded copy that
    libvips keeps (on disk when large). Raises BadInput naming `name`.
    """
    options: dict[str, object] = {
        "fail_on": "warning" if strict else "truncated",
        "access": "sequential" if picture.orientation in (0, 1, 2) and not anywhere else "random",
    }
    if picture.format == "tiff":
        options["page"] = page
    image = vips.load(file, picture.format, name, **options)
    try:
        image = image.autorot()
        if picture.mode == "cmyk":
            image = _from_cmyk(image, picture)
        wanted = _FORMATS[container(picture.depth if picture.depth != 64 else 32)]
        if image.format != wanted:
            image = image.cast(wanted)
    except pyvips.Error as error:
        raise BadInput(f"{name} cannot be decoded: {vips.sentence(error)}; restore it from another copy.") from error
    return image


def _from_cmyk(image: pyvips.Image, picture: Picture) -> pyvips.Image:
    """CMYK to sRGB through the embedded profile, else libvips' built-in press profile; alpha is carried."""
    inks, alpha = (image[:4], image[4]) if image.bands > 4 else (image, None)
    depth = container(picture.depth)
    result = inks.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth, intent="relative")
    return result if alpha is None else result.bandjoin(alpha)


def raw_pixels(raw: Path, target: Target) -> pyvips.Image:
    """The raw pixels of a result, mapped piece by piece."""
    bands = (1 if target.mode == "grey" else 3) + target.alpha
    form, meaning = _FORMATS[container(target.depth)], _interpretation(target)
    return pyvips.Image.rawload(
        str(raw), target.width, target.height, bands, format=form, interpretation=meaning, access="sequential"
    )


def joined(bands: Sequence[Path]) -> pyvips.Image:
    """Bands that `encode` wrote as TIFF, one below the other; decoded as they are asked for."""
    parts = [pyvips.Image.tiffload(str(band), access="sequential") for band in bands]
    return reduce(lambda above, below: above.join(below, "vertical"), parts)


def encode(image: pyvips.Image, target: Target, like: pyvips.Image, xmp: bytes | None, out: Path, name: str) -> None:
    """Encode the pixels `image` as `out`, without metadata but for AVIF, which gets the fields of `like` and `xmp`.

    Raises Unsupported when the encoder refuses; memory is bounded, the file is streamed.
    """
    if target.format == "avif":
        image = image.copy()
        for field in like.get_fields():
            if field.startswith("exif-") or field == "icc-profile-data":
                image.set_type(like.get_typeof(field), field, like.get(field))
        if xmp is not None:
            image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp)
    try:
        _encode(image, target, out)
    except pyvips.Error as error:
        raise Unsupported(
            f"the result of {name} ({target.width}x{target.height}) cannot be written as {target.format.upper()}: "
            f"{vips.sentence(error)}; choose another --image-format."
        ) from error


def srgb_profile() -> bytes:
    """libvips' built-in sRGB profile: what pixels are in that came from CMYK."""
    profile: bytes = pyvips.Operation.call("profile_load", "srgb")
    return profile


def _interpretation(target: Target) -> str:
    if container(target.depth) == 32:
        return "scrgb" if target.mode == "rgb" else "b-w"
    deep = container(target.depth) == 16
    return ("grey16" if deep else "b-w") if target.mode == "grey" else ("rgb16" if deep else "srgb")


def _encode(image: pyvips.Image, target: Target, out: Path) -> None:
    path = str(out)
    if target.format == "jpeg":
        image.jpegsave(path, keep="none", Q=JPEG_QUALITY, subsample_mode="off", optimize_coding=True)
    elif target.format == "png":
        image.pngsave(path, keep="none", compression=6, palette=False, bitdepth=container(target.depth))
    elif target.format == "webp":
        image.webpsave(path, keep="none", lossless=target.lossless, Q=WEBP_QUALITY, exact=True, smart_subsample=True)
    elif target.format == "avif":
        image.heifsave(
            path,
            compression="av1",
            Q=AVIF_QUALITY,
            bitdepth=target.depth,
            subsample_mode="off",
            lossless=target.lossless,
        )
    else:
        bands = image.bands
        size = image.width * image.height * bands * container(target.depth) // 8
        image.tiffsave(
            path,
            keep="none",
            compression="deflate",
            predictor="none" if container(target.depth) == 32 else "horizontal",
            tile=False,
            # 4 GB is where 32-bit offsets end; deflate may grow noise by a little, and metadata needs room.
            bigtiff=size > 0xF000_0000,
        )
