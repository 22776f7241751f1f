"""Encoding of a film: rate, size, pixel format. Pure except for asking an encoder which formats it accepts."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import Unsupported, UsageError
from contract.film import Colour, Encoding
from media.codecs import ENCODERS, PixelClass, choose_pix_fmt, encoder_options, pixel_class, readable
from media.levels import beyond_levels

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from contract.job import Spec
    from orchestrator.ingest.packets import PacketTable
    from orchestrator.ingest.probe import Picture

UNDERSTOOD = frozenset((0, 1, 2, 3, 4, 5, 6, 7, 9))
"""Matrices (FFmpeg's AVCOL_SPC_*) that are converted as tagged, and those that mean "unspecified"."""
STEADY = 24
"""Steps from frame to frame that are needed to call a rate constant."""
MAX_RATE = 1000
"""Frames per second beyond which a header's rate is taken for a time base."""


def announced_rates(stream: VideoStream) -> list[Fraction]:
    """List the rates that the container and the codec announce."""
    rates = (stream.average_rate, stream.base_rate, stream.guessed_rate)
    return [Fraction(r) for r in rates if r and 0 < r <= MAX_RATE]


def nominal_step(stream: VideoStream, table: PacketTable) -> int:
    """Return one frame's time base units for frames without times: the commonest duration, else by the announced rate."""
    lasting = table.duration[table.duration > 0]
    if len(lasting):
        values, counts = np.unique(lasting, return_counts=True)
        return int(values[counts.argmax()])
    rates = announced_rates(stream) or [Fraction(25)]
    return max(1, round(1 / (rates[0] * (stream.time_base or Fraction(1, 25)))))


def frame_rate(pts: npt.NDArray[np.int64], time_base: Fraction, announced: list[Fraction]) -> Fraction:
    """Return nominal frames per second from the times themselves.

    An announced rate counts only if every frame keeps to it within a tick: rates in headers are often wrong (soft
    telecine, transport streams, variable rate).
    """
    if len(pts) == 1:
        return announced[0] if announced else Fraction(25)
    ticks = (pts - pts[0]).astype(np.float64)
    n = np.arange(len(pts), dtype=np.float64)
    mean = Fraction(len(pts) - 1) / (Fraction(int(pts[-1] - pts[0])) * time_base)
    near = mean.limit_denominator(1001)
    for rate in (*announced, Fraction(round(mean * 1001 / 1000) * 1000, 1001), Fraction(round(mean)), near):
        if 0 < rate <= MAX_RATE and np.abs(ticks - n / float(rate * time_base)).max() <= 1.01:
            return rate
    return min(max(near, Fraction(1, MAX_RATE)), Fraction(MAX_RATE))


def gaps(pts: npt.NDArray[np.int64], time_base: Fraction) -> str:
    """Describe where a film of otherwise constant rate lacks more than one frame; "" where it lacks none."""
    steps = np.diff(pts)
    if len(steps) < STEADY:
        return ""
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[counts.argmax()])
    regular = np.abs(steps - usual) <= 1
    wide = np.flatnonzero(steps >= 2.5 * usual)
    if not len(wide) or regular.mean() < 0.9:
        return ""
    widest = int(wide[steps[wide].argmax()])
    seconds = float(int(steps[widest] - usual) * time_base)
    count = f"are {len(wide)} gaps, the widest" if len(wide) > 1 else "is a gap"
    return f"there {count} of {seconds:.3f} s after frame {widest}: frames may be missing there"


def plan_encoding(
    picture: Picture, spec: Spec, network_scale: int, rate: Fraction, field_order: int, lossless: bool = False
) -> tuple[Encoding, list[str]]:
    """Return the encoding of every chunk, and notes on what it changes. `lossless`: workers get FFV1, not the source."""
    encoder = ENCODERS[spec.codec]
    pix_fmt, notes = choose_pix_fmt(spec.codec, picture.pix_fmt, spec.pix_fmt)
    scale = spec.scale if spec.scale is not None else float(network_scale)
    look = pixel_class(pix_fmt)
    given = choose_pix_fmt("ffv1", picture.pix_fmt, None)[0] if lossless else picture.pix_fmt
    through_rgb = spec.model != "identity" or pixel_class(given).model != look.model
    if through_rgb and not readable(given):
        raise Unsupported(
            f"the pixel format {picture.pix_fmt} is not one that can be restored (YUV, RGB or grey of 8 to 16 bits "
            "is, with alpha or a palette where FFmpeg reads it); convert the film first, or keep its pixels with --model identity --codec ffv1."
        )
    if through_rgb and picture.colour.space not in UNDERSTOOD:
        notes.append(
            f"colours are coded in a way (matrix {picture.colour.space}) that is taken for {picture.colour.matrix}, going there "
            "and coming back"
        )
    if spec.codec == "prores" and picture.colour.full and not look.rgb and pixel_class(given).model == look.model:
        raise Unsupported(
            "the film's code values use the full range, which ProRes cannot say of itself; use --codec ffv1 or x264."
        )
    width, height = result_size(picture, spec, scale, look)
    beyond = beyond_levels(spec.codec, (width, height), (picture.width, picture.height), rate)
    if beyond:
        notes.append(beyond)
    encoding = Encoding(
        codec=spec.codec,
        encoder=encoder.name,
        pix_fmt=pix_fmt,
        width=width,
        height=height,
        rate=(rate.numerator, rate.denominator),
        options=encoder_options(spec.codec, spec, pix_fmt, field_order, width * height, picture.width * picture.height),
        colour=result_colour(picture.colour, look, height),
        field_order=field_order,
        sar=picture.sar,
    )
    return encoding, notes


def result_size(picture: Picture, spec: Spec, scale: float, look: PixelClass) -> tuple[int, int]:
    """Return the result's width and height; raise for a size that the encoder refuses.

    The rule: out = even(round(in * scale)) along each side that has subsampled chroma, and along both where the encoder
    wants even sides; `identity` never changes a size.
    """
    encoder = ENCODERS[spec.codec]
    if spec.model == "identity":
        if scale != 1:
            raise UsageError(
                f"--scale {scale:g} with the model identity, which leaves frames as they are; use lanczos."
            )
        width, height = picture.width, picture.height
        if not encoder.odd_sizes and (width % 2 or height % 2):
            raise Unsupported(f"{spec.codec} cannot encode the odd size {width}x{height} as it is; use --codec ffv1.")
    else:
        width = scaled(picture.width, scale, look.chroma[0] > 0 or not encoder.odd_sizes)
        height = scaled(picture.height, scale, look.chroma[1] > 0 or not encoder.odd_sizes)
    low = max(encoder.smallest - min(width, height), 0)
    if low:
        raise Unsupported(
            f"{spec.codec} encodes nothing smaller than {encoder.smallest} pixels a side, and this is {width}x{height}; "
            "use another codec."
        )
    if max(width, height) > encoder.largest:
        raise Unsupported(
            f"{spec.codec} encodes up to {encoder.largest} pixels a side, and this becomes {width}x{height}; lower --scale "
            "or use --codec ffv1."
        )
    return width, height


def result_colour(colour: Colour, look: PixelClass, height: int) -> Colour:
    """Return the meaning of the result's code values.

    It is the source's, unless it changes between RGB, grey and YUV; then it is what players assume for the height. Full
    range is always tagged, since no player assumes it.
    """
    spread = colour.range or (2 if colour.full else 0)
    if look.rgb:
        if colour.matrix == "rgb":
            return msgspec.structs.replace(colour, range=spread)
        return msgspec.structs.replace(colour, matrix="rgb", full=True, space=0, range=2)
    if colour.matrix == "rgb" or (colour.matrix == "grey" and not look.grey):
        modern = height >= 720
        return msgspec.structs.replace(
            colour, matrix="bt709" if modern else "bt601", full=False, space=1 if modern else 6, range=1
        )
    if look.grey:
        return msgspec.structs.replace(colour, matrix="grey", range=spread)
    return msgspec.structs.replace(colour, range=spread)


def scaled(side: int, scale: float, even: bool) -> int:
    """Scale a side: round to the nearest integer, then up to an even one if `even`."""
    size = max(1, round(side * scale))
    return size + size % 2 if even else size
