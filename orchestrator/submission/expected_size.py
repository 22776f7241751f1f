"""Expected bytes of a restored film, as a range: by encoder, size, frames, and the source's own bits. Pure.

But for the encoders of cards, the figures are the 5% and 95% quantiles of what `python -m benchmarks.fidelity.expected_size` measures on 140 results of each
encoder: seven materials, four qualities of the source, enlarged once, twice and four times, by Lanczos and by a network.
"""

from __future__ import annotations

from math import sqrt

from contract.film import Encoding, FilmIndex
from media import nvenc
from media.codecs import ENCODERS, pixel_class

_CONSTANT_QUALITY = {
    "x264": (0.23, 0.85, 1.45, 7.0),
    "x265": (0.15, 0.69, 1.15, 7.0),
    "svtav1": (0.16, 0.98, 1.00, 15.0),
    "vp9": (0.19, 1.12, 1.10, 15.0),
}
"""Least and most bits a source pixel, over the root of the source's own; the power of the scale with which they grow; and the steps
of crf that halve them."""
_CARD_MOST = 2.0
"""Most bytes of a card's encoder, as a multiple of those of its counterpart on cores at the same number; a guess, as no card was at hand."""
_TELLING = (0.1, 2.0)
"""Bits a pixel of a source: from the second on it is lossless or nearly so, and tells of its material no more than this span."""
_FFV1 = (1.6, 6.5)
"""Least and most bits a pixel at the source's size, of 12 bits a pixel (8-bit 4:2:0)."""
_FFV1_RAW, _FFV1_FALL = 12.0, -0.58
_PRORES = ((1620, 1566), (2700, 1216), (6075, 1070), (1 << 60, 950))
"""Most bits a macroblock of ProRes 422 HQ in frames of up to so many macroblocks: `bits_per_mb` of FFmpeg's prores_ks."""
_PRORES_4444, _PRORES_LEAST = 1.5, 0.33
_CRF_LOW, _CRF_HIGH = 8.0, 24.0
"""Steps of crf off the default that widen the range by two: material with grain loses far more than other."""


def expected_bytes(index: FilmIndex, source: int) -> tuple[int, int]:
    """Return the least and most bytes to expect of the result of a film of `source` bytes; nine of ten lie between them."""
    copied = sum(stream.size for stream in index.streams if stream.copied)
    if index.piece is not None:  # of which the streams' sizes are
        source = source * index.piece.frames // index.piece.of
    own = max(0, source - sum(stream.size for stream in index.streams))
    low, high = picture_bytes(index.encoding, (index.width, index.height), index.frames, own)
    return low + copied, high + copied


def picture_bytes(encoding: Encoding, size: tuple[int, int], frames: int, own: int) -> tuple[int, int]:
    """Return the least and most bytes of the picture, which had `own` bytes in `frames` frames of `size` (width, height)."""
    before, after = size[0] * size[1] * frames, encoding.width * encoding.height * frames
    scale = sqrt(after / before)
    if encoding.codec == "ffv1":
        low, high = _ffv1(encoding.pix_fmt, scale)
    elif encoding.codec == "prores":
        low, high = _prores(encoding)
    else:
        low, high = _constant_quality(encoding, 8 * own / before, scale)
    return round(low * after / 8), round(high * after / 8)


def _constant_quality(encoding: Encoding, own: float, scale: float) -> tuple[float, float]:
    """Return the least and most bits a pixel of an encoder that holds a quality; `own` are those of the source."""
    card = nvenc.ENCODERS.get(encoding.codec)
    low, high, power, halving = _CONSTANT_QUALITY[card.instead if card else encoding.codec]
    high *= _CARD_MOST if card else 1.0
    least, most = (own, own) if own < _TELLING[1] else _TELLING
    off = float(encoding.options["cq" if card else "crf"]) - (ENCODERS[encoding.codec].crf or 0.0)
    grown = scale ** (power - 2) * 2 ** (-off / halving)
    return (
        low * sqrt(least) * grown * 2 ** (-abs(off) / _CRF_LOW),
        high * sqrt(most) * grown * 2 ** (abs(off) / _CRF_HIGH),
    )


def _ffv1(pix_fmt: str, scale: float) -> tuple[float, float]:
    """Return the least and most bits a pixel: pictures that were enlarged are smoother, and none is larger than raw."""
    look = pixel_class(pix_fmt)
    planes = 1.0 if look.grey else 1 + 2 / 2 ** sum(look.chroma)
    raw = look.depth * (planes + look.alpha)
    low, high = (bits * raw / _FFV1_RAW * scale**_FFV1_FALL for bits in _FFV1)
    return min(low, raw), min(high, raw)


def _prores(encoding: Encoding) -> tuple[float, float]:
    blocks = -(-encoding.width // 16) * -(-encoding.height // 16)
    most = next(bits for up_to, bits in _PRORES if blocks <= up_to) / 256
    most *= _PRORES_4444 if encoding.options["profile"] == "4" else 1
    return most * _PRORES_LEAST, most
