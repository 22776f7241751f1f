"""Pixels in and out: a source opened as plain grey or RGB samples, and raw scratch pixels encoded as a result.

Raw pixels are rows from top to bottom, samples interleaved, native byte order: uint8, uint16 or float32 as
the depth says (8; 10 to 16; 32), the alpha sample last and never premultiplied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from io import RawIOBase
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import pyvips

from contract.errors import BadInput, IntegrityError, Unsupported
from media.images import foreign, vips
from media.images.bands import STRIP
from media.images.deflate_writer import Strip, write_png, write_tiff
from media.images.foreign.picture import widened
from media.images.foreign.tiff import load as load_tiff
from media.images.header import Picture
from media.images.metadata import Metadata
from media.images.output_plan import Target

FailOn = Literal["warning", "none"]
_FORMATS = {8: "uchar", 16: "ushort", 32: "float"}
JPEG_QUALITY = 95
"""Of libjpeg, without chroma subsampling: at this quality a photograph's error stays below one code value in the mean."""
WEBP_QUALITY = 95
AVIF_QUALITY = 90
OPTIMISED = 30_000_000
"""Pixels of a JPEG up to which its Huffman tables are made for it: 200 MB of coefficients."""


def container(depth: int) -> int:
    """Bits of the raw sample that holds `depth` bits: 8, 16 or 32 (float)."""
    return 8 if depth <= 8 else 16 if depth <= 16 else 32


def sample_type(depth: int) -> np.dtype[np.generic]:
    """Return the numpy type of raw samples of `depth` bits."""
    return np.dtype({8: np.uint8, 16: np.uint16, 32: np.float32}[container(depth)])


def source_samples(
    file: Path, picture: Picture, name: str, page: int, fail_on: FailOn, access: str = "sequential"
) -> pyvips.Image:
    """Return the samples of one page as they are stored, before turning and conversion; raises BadInput naming `name`.

    `fail_on` is libvips' own: "warning" makes a decoder's complaint an error, "none" reads on with whatever the decoder fills in.
    """
    if picture.decoder == "foreign":
        return foreign.load(file, picture.format, name)
    if picture.decoder == "tifffile":
        return load_tiff(file, page, name, picture.mode == "grey", lenient=fail_on == "none")
    if picture.decoder == "libavif":
        return _grey_avif(file, picture, name)
    options: dict[str, object] = {"fail_on": fail_on, "access": access}
    if picture.format == "tiff":
        options["page"] = page
    return vips.load(file, picture.format, name, **options)


def _grey_avif(file: Path, picture: Picture, name: str) -> pyvips.Image:
    """Return a grey AVIF through libavif, as libvips would give it: libheif 1.20 does not expand the limited range of grey."""
    try:
        samples = widened(np.asarray(imagecodecs.avif_decode(file.read_bytes())), picture.depth)
    except RuntimeError as error:
        raise BadInput(f"{name} cannot be decoded: {error}; restore it from another copy.") from error
    grey, rest = samples[..., :1], samples[..., 1:] if samples.shape[2] in (2, 4) else samples[..., :0]
    return foreign.image_of(np.ascontiguousarray(np.concatenate([grey, grey, grey, rest[..., -1:]], axis=2)))


def open_pixels(
    file: Path, picture: Picture, name: str, fail_on: FailOn = "warning", page: int = 0, anywhere: bool = False
) -> pyvips.Image:
    """Return the source as upright grey or RGB, with its alpha last, in the raw form of its depth; decoded row by row as asked for.

    `fail_on` as in `source_samples`; `anywhere` lets rows be read in any order, from a decoded copy that
    libvips keeps (on disk when large). Raises BadInput naming `name`.
    """
    access = "sequential" if picture.orientation in (0, 1, 2) and not anywhere else "random"
    image = source_samples(file, picture, name, page, fail_on, access)
    try:
        if picture.format == "png" and picture.orientation > 1:  # which may stand where libvips does not look
            image = image.copy()
            image.set_type(pyvips.GValue.gint_type, "orientation", picture.orientation)
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


class RawPixels:
    """The raw pixels of a result in a scratch file."""

    def __init__(self, path: Path, target: Target) -> None:
        self._path, self._target = path, target
        self._bands = (1 if target.mode == "grey" else 3) + target.alpha

    def strips(self, rows: int) -> Iterator[Strip]:
        """`rows` rows at a time, from the top; read, not mapped, so that a large file does not count as memory."""
        target = self._target
        kind = sample_type(target.depth)
        line = target.width * self._bands * kind.itemsize
        with self._path.open("rb", buffering=0) as file:
            for top in range(0, target.height, rows):
                height = min(rows, target.height - top)
                data = np.frombuffer(_exactly(file, height * line), kind)
                yield data.reshape(height, target.width, self._bands)

    def image(self) -> pyvips.Image:
        """Return the same for libvips, which maps the file piece by piece."""
        target = self._target
        form, meaning = _FORMATS[container(target.depth)], _interpretation(target)
        path, access = str(self._path), "sequential"
        return pyvips.Image.rawload(
            path, target.width, target.height, self._bands, format=form, interpretation=meaning, access=access
        )


class JoinedBands:
    """Bands that `encode` wrote as TIFF, one below the other; decoded as they are asked for."""

    def __init__(self, bands: Sequence[Path], target: Target) -> None:
        self._bands, self._target = bands, target

    def strips(self, rows: int) -> Iterator[Strip]:
        """`rows` rows at a time, from the top."""
        image = self.image()
        region = pyvips.Region.new(image)
        kind = sample_type(self._target.depth)
        for top in range(0, image.height, rows):
            height = min(rows, image.height - top)
            data = np.frombuffer(region.fetch(0, top, image.width, height), kind)
            yield data.reshape(height, image.width, image.bands)

    def image(self) -> pyvips.Image:
        """Join the bands from top to bottom."""
        parts = [pyvips.Image.tiffload(str(band), access="sequential") for band in self._bands]
        return reduce(lambda above, below: above.join(below, "vertical"), parts)


def _exactly(file: RawIOBase, size: int) -> bytes:
    """`size` bytes of an unbuffered file, which may give them in several parts."""
    data = bytearray()
    while len(data) < size:
        part = file.read(size - len(data))
        if not part:
            raise IntegrityError("scratch pixels ended too early; retry the job.")
        data += part
    return bytes(data)


def encode(pixels: RawPixels | JoinedBands, target: Target, metadata: Metadata | None, out: Path, name: str) -> None:
    """Encode `pixels` as `out`, without metadata but for AVIF, which gets the blocks of `metadata`.

    Raises Unsupported when the encoder refuses; memory is bounded, the file is streamed.
    """
    if target.format == "tiff":
        write_tiff(pixels.strips(STRIP), target, out)
        return
    if target.format == "png":
        write_png(pixels.strips(STRIP), target, out)
        return
    image = pixels.image()
    if target.format == "avif" and metadata is not None:
        image = image.copy()
        exif = b"Exif\0\0" + metadata.exif if metadata.exif else None
        for field, block in (("exif-data", exif), ("icc-profile-data", metadata.icc), ("xmp-data", metadata.xmp)):
            if block:
                image.set_type(pyvips.GValue.blob_type, field, block)
    try:
        _encode(image, target, out)
    except pyvips.Error as error:
        raise Unsupported(
            f"the result of {name} ({target.width}x{target.height}) cannot be written as {target.format.upper()}: "
            f"{vips.sentence(error)}; choose another --image-format."
        ) from error


def srgb_profile() -> bytes:
    """Return libvips' built-in sRGB profile, in which pixels are that came from CMYK."""
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
        # Tables of its own make a file some 5% smaller, but need all coefficients in memory.
        small = image.width * image.height <= OPTIMISED
        image.jpegsave(path, keep="none", Q=JPEG_QUALITY, subsample_mode="off", optimize_coding=small)
    elif target.format == "webp":
        image.webpsave(path, keep="none", lossless=target.lossless, Q=WEBP_QUALITY, exact=True, smart_subsample=True)
    else:
        lossy = {"Q": AVIF_QUALITY, "subsample_mode": "off"}
        image.heifsave(path, compression="av1", bitdepth=target.depth, lossless=target.lossless, **lossy)
