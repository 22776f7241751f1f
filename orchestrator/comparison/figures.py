"""The figures of a report: a before/after slider and a change map of each pair, and of large pictures a detail pixel by pixel."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape

import pyvips

from orchestrator.comparison.before_after import Pair
from orchestrator.comparison.change_map import COLOURS, FULL, VISIBLE, Change, change, resampled

SIDE = 1200
"""Pixels. The largest width of a whole picture on the page; wider results are reduced to it."""
NARROW, ENLARGED, COLUMN = 480, 2, 768
"""Pixels, a factor, and pixels. Small pictures are enlarged to the first width, or so many times up to the last: a tablet's column."""
EXACT = 200_000
"""Pixels. Pictures up to this size are embedded without loss; of larger ones a detail is."""
DETAIL = (480, 360)
"""Pixels. Width and height of the detail: at the page's smallest column it is seen at its own size."""


@dataclass(frozen=True)
class _Shown:
    """Three pictures of one size as data URIs, and what a figure says of them."""

    before: str
    after: str
    heat: str
    width: int
    height: int
    text: str


def colours() -> str:
    """Return the change map's colours from no change to the most, as stops of a CSS gradient."""
    return ", ".join(f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in COLOURS)


def legend() -> str:
    """Return the legend of change maps: a strip of the colours above their levels."""
    return (
        '<div class="legend"><i></i>'
        f"<p><span>same as Lanczos</span><span>{FULL // 2}</span><span>{FULL} of 255 levels or more</span></p></div>"
    )


def figures(pair: Pair, number: int) -> str:
    """Build the figures of pair `number`: the whole picture, and the detail that changed most where the whole is not exact."""
    found = change(pair, DETAIL[1])
    size = pair.after.width * pair.after.height
    made = _figure(_whole(pair, found, lossless=size <= EXACT), f"{number}")
    return made + _figure(_detail(pair, found), f"{number}d") if size > EXACT else made


def _whole(pair: Pair, found: Change, *, lossless: bool) -> _Shown:
    width = min(SIDE, pair.after.width)
    reduced = f" Shown reduced to a width of {width}." if width < pair.after.width else ""
    text = (
        f"{pair.label}: {pair.before.width}x{pair.before.height} became {pair.after.width}x{pair.after.height}. Against Lanczos, "
        f"{found.share:.1%} of pixels differ by more than {VISIBLE} of 255 levels; {found.mean:.2f} in the mean, "
        f"{found.most:.0f} at most but for 0.1%.{reduced}"
    )
    before, after, heat = (_embedded(image, width, lossless) for image in (pair.before, pair.after, found.map))
    return _Shown(before, after, heat, width, max(1, round(pair.after.height * width / pair.after.width)), text)


def _detail(pair: Pair, found: Change) -> _Shown:
    """Cut out the window that changed most, with its pixels as they are; the source's are enlarged to squares."""
    width, height = min(DETAIL[0], pair.after.width), min(DETAIL[1], pair.after.height)
    left = max(0, min(found.hottest[0] - (width - height) // 2, pair.after.width - width))
    top = max(0, min(found.hottest[1], pair.after.height - height))
    before = resampled(pair.before, pair.after, "nearest")
    place = (left, top, width, height)
    old, new, heat = (_embedded(image.crop(*place), width, True) for image in (before, pair.after, found.map))
    text = (
        f"{pair.label}, detail: the {width}x{height} pixels from column {left} and row {top} on, where most changed. "
        "Every pixel is as it is in the result, and in the source."
    )
    return _Shown(old, new, heat, width, height, text)


def _figure(shown: _Shown, number: str) -> str:
    widest = max(shown.width, NARROW, min(ENLARGED * shown.width, COLUMN))
    basis = 360 if shown.width <= DETAIL[0] else 544
    style = f"--basis: {basis}px; --widest: min({widest}px, max(20rem, {shown.width / shown.height:.3f} * 90vh))"
    return (
        f'<figure style="{style}"><div class="pair" style="--at: 50%">'
        f'<img alt="after" draggable="false" src="{shown.after}"><img class="before" alt="before" draggable="false" src="{shown.before}">'
        '<span class="word before" aria-hidden="true"><b>before</b></span><span class="word right" aria-hidden="true"><b>after</b></span>'
        f'<img class="map" alt="change map" draggable="false" src="{shown.heat}"></div>{legend()}'
        '<div class="slide"><span aria-hidden="true">before</span><input type="range" min="0" max="100" value="50" '
        f'aria-label="share of the picture that shows before" id="slider{number}"><span aria-hidden="true">after</span></div>'
        f'<div class="tools"><label><input type="checkbox" id="map{number}"> change map</label><button type="button">Enlarge</button></div>'
        f"<figcaption>{escape(shown.text)}</figcaption></figure>"
    )


def _embedded(image: pyvips.Image, width: int, lossless: bool) -> str:
    """Encode a picture, `width` pixels wide, as a data URI."""
    kernel = "lanczos3" if width <= image.width else "nearest"  # an enlargement shows the pixels as they are
    sized = image.resize(width / image.width, kernel=kernel) if width != image.width else image
    data = sized.webpsave_buffer(lossless=True, keep="none") if lossless else sized.webpsave_buffer(Q=88, keep="none")
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def repair_figure(pair: Pair, number: str, said: str, columns: tuple[int, int] | None) -> str:
    """Build the figure of a repair: the whole picture, or the part around the columns of a scratch, pixel by pixel."""
    before = resampled(pair.before, pair.after, "nearest")
    left, width = 0, pair.after.width
    if columns is not None:
        scale = pair.after.width / pair.before.width
        width = min(DETAIL[0], pair.after.width)
        left = max(0, min(round((columns[0] + columns[1] / 2) * scale) - width // 2, pair.after.width - width))
    height = min(pair.after.height, DETAIL[1] if columns is not None else pair.after.height)
    top = (pair.after.height - height) // 2
    shown = min(SIDE, width)
    exact = columns is not None or width * height <= EXACT
    parts = (image.crop(left, top, width, height) for image in (before, pair.after, change(pair).map))
    old, new, heat = (_embedded(part, shown, exact) for part in parts)
    place = f" Columns {left} to {left + width - 1} of the result are shown." if width < pair.after.width else ""
    text = f"{said}. Before is the source, after the result, with the generator's work in it.{place}"
    return _figure(_Shown(old, new, heat, shown, max(1, round(height * shown / width)), text), number)
