"""Plan of an image's result: size, format, depth, and notes on every change. Pure."""

from __future__ import annotations

from fractions import Fraction
from pathlib import PurePosixPath
from typing import Literal

from msgspec import Struct

from contract.errors import Unsupported
from contract.job import Positive, Spec
from contract.severity import Loss
from media.images.colour_signal import HDR
from media.images.header import Picture
from media.images.sniff import FOREIGN, OWN_SUFFIXES, SUFFIXES, Format

LIMITS: dict[Format, int] = {"jpeg": 65_535, "webp": 16_383, "avif": 65_536}
"""Largest side that the format can hold (JPEG: 16-bit fields; WebP: 14-bit fields; AVIF: libavif and libaom)."""
DEPTHS: dict[Format, frozenset[int]] = {
    "jpeg": frozenset({8}),
    "webp": frozenset({8}),
    "avif": frozenset({8, 10, 12}),
    "png": frozenset({8, 16}),
    "tiff": frozenset({8, 16, 32}),
}
_ASKED: dict[str, Format] = {"png": "png", "tiff": "tiff", "jpg": "jpeg", "webp": "webp"}


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """The result to write: `depth` bits a sample (32 is IEEE float), `mode` and `alpha` as stored, sentences for the user.

    `extra` is what the band beyond the colours means, where there is one.
    """

    format: Format
    width: Positive
    height: Positive
    mode: Literal["grey", "rgb"]
    alpha: bool
    depth: Positive
    lossless: bool
    notes: tuple[str, ...] = ()
    extra: Literal["alpha", "unspecified"] = "alpha"


def scaled(length: int, scale: float) -> int:
    """`length` times `scale`, rounded half up, at least 1."""
    exact = Fraction(length) * Fraction(str(scale))
    return max(1, int(exact + Fraction(1, 2)))


def choose(picture: Picture, name: str, spec: Spec, network_scale: int, named: Format | None = None) -> Target:
    """Decide what `picture`, called `name`, becomes under `spec`, with a generator that enlarges `network_scale` times by itself.

    `auto` keeps the source's format where it can hold the result without losing depth, alpha or size, and takes
    PNG, else TIFF, where it cannot. A format that was asked for, or `named` by the result's suffix, is taken even where depth or
    alpha are lost; the notes say so. Raises Unsupported when it cannot hold the size.
    """
    if spec.piece is not None:
        raise Unsupported(f"{name} is an image, and {spec.piece.words} asks for a piece of a film; name films alone.")
    scale = spec.scale or float(network_scale)
    width, height = scaled(picture.width, scale), scaled(picture.height, scale)
    depth = (
        32
        if picture.floating
        else 16
        if picture.depth == 16 or (picture.depth > 8 and picture.format in FOREIGN)
        else max(8, picture.depth)
    )
    mode: Literal["grey", "rgb"] = "grey" if picture.mode == "grey" else "rgb"
    notes: list[str] = []
    asked = named or _ASKED.get(spec.image_format)
    form = asked or picture.format
    side = max(width, height)
    if side > LIMITS.get(form, side) and asked:
        raise Unsupported(
            f"the result of {name} would be {width}x{height} pixels, and {form.upper()} ends at {LIMITS[form]} a side; "
            "use --image-format tiff."
        )
    if picture.pages > 1 and form != "tiff":
        raise Unsupported(f"{name} has {picture.pages} pages, and {form.upper()} holds one; use --image-format tiff.")
    if picture.hdr and not spec.hdr:
        raise Unsupported(
            f"{name} is HDR ({HDR[picture.signal[1]] if picture.signal else ''}), which networks were not trained on; pass --hdr to "
            "process its code values as they are, or make an SDR version first."
        )
    if picture.hdr and form != "png":
        if asked:
            raise Unsupported(f"{name} is HDR, and only PNG says so in the result; use --image-format png.")
        form, depth = "png", max(16, depth)
        notes.append("written as PNG: of the formats here it alone states HDR")
    if not asked and form in FOREIGN:
        form = "png" if depth <= 16 else "tiff"
        notes.append(f"written as {form.upper()}: {picture.format.upper()} is read and not written")
    if not asked and (why := _cannot(form, side, depth, picture.alpha)):
        form = "png" if depth <= 16 else "tiff"
        notes.append(f"written as {form.upper()}: {picture.format.upper()} cannot hold {why}")
    if depth > max(DEPTHS[form]):
        notes.append(Loss(f"{depth} bits a sample become {max(DEPTHS[form])}: {form.upper()} cannot hold more"))
    extra: Literal["alpha", "unspecified"] = "unspecified" if picture.extra == "unspecified" else "alpha"
    alpha = picture.alpha and (form == "tiff" if extra == "unspecified" else form != "jpeg")
    if picture.alpha and not alpha and extra == "alpha":
        notes.append(Loss("alpha was flattened on white: JPEG cannot hold it"))
    elif picture.alpha and not alpha:
        notes.append(
            Loss(f"a channel whose meaning the TIFF does not tell was left out: {form.upper()} cannot hold it")
        )
    depth = min((d for d in DEPTHS[form] if d >= depth), default=max(DEPTHS[form]))
    notes += _changes(picture)
    lossless = form in ("png", "tiff") or (form == "webp" and picture.lossless)
    return Target(form, width, height, mode, alpha, depth, lossless, tuple(notes), extra)


def choose_for(picture: Picture, name: str, spec: Spec, network_scale: int) -> Target:
    """Return what the file called `name` is to hold: as `choose`, in the format of its suffix when that is another one."""
    target = choose(picture, name, spec, network_scale)
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in OWN_SUFFIXES[target.format]:
        return target
    for form, suffixes in OWN_SUFFIXES.items():
        if suffix in suffixes:
            return choose(picture, name, spec, network_scale, form)
    return target


def result_name(name: str, target: Target) -> str:
    """`name` with the suffix of what is written; a suffix that already says the format is kept as it is."""
    path = PurePosixPath(name)
    if path.suffix.lower() in OWN_SUFFIXES[target.format]:
        return name
    stem = name[: -len(path.suffix)] if path.suffix else name
    return stem + SUFFIXES[target.format]


def _cannot(form: Format, side: int, depth: int, alpha: bool) -> str | None:
    """Return what of the result `form` cannot hold, or None."""
    if side > LIMITS.get(form, side):
        return f"{side} pixels a side"
    if depth > max(DEPTHS[form]):
        return f"{depth} bits"
    if alpha and form == "jpeg":
        return "alpha"
    return None


def _changes(picture: Picture) -> list[str]:
    notes = []
    if picture.orientation > 1:
        notes.append(f"EXIF orientation {picture.orientation} was applied to the pixels and its tag removed")
    if picture.mode == "cmyk":
        through = "its profile" if picture.profile else "a general press profile, because it carries none that fits"
        notes.append(f"CMYK was converted to sRGB through {through}")
    if picture.alpha and picture.extra == "premultiplied":
        notes.append("colours that were multiplied with alpha were divided by it, and alpha is straight now")
    if picture.palette:
        notes.append("palette colours were expanded to RGB")
    if picture.depth < 8:
        notes.append(f"{picture.depth}-bit samples became 8-bit: enlarging makes intermediate tones")
    return notes
