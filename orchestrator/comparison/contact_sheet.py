"""Contact sheets: nearest, Lanczos and enhanced side by side, and the detail that changed most, enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from xml.sax.saxutils import escape

import pyvips

from orchestrator.comparison.before_after import Pair
from orchestrator.comparison.change_map import Change, change, resampled
from stores.atomic_files import replacing

PANEL = 420
"""Width in pixels of a panel: three of them fit on a screen and in a mail."""
ZOOM = 4
"""Pixels of the sheet for each pixel of a detail."""
_GAP = 8
_INK, _PAPER = [34, 34, 34], [255, 255, 255]
COLUMNS = ("nearest", "Lanczos", "enhanced")


def write_sheet(pairs: Sequence[Pair], out: Path) -> list[Change]:
    """Write a PNG with two rows for each pair, whole and detail; return the change of each pair."""
    rows = [_row([_line(column, PANEL) for column in COLUMNS])]
    changes = []
    for pair in pairs:
        found = change(pair)
        changes.append(found)
        versions = (
            resampled(pair.before, pair.after, "nearest"),
            resampled(pair.before, pair.after, "lanczos3"),
            pair.after,
        )
        said = f"{pair.label}: {found.share:.0%} of pixels differ visibly from Lanczos, {found.mean:.1f} levels in the mean"
        rows.append(_line(said, 3 * PANEL + 2 * _GAP))
        rows.append(_row([_whole(version) for version in versions]))
        rows.append(_row([_detail(version, found.hottest) for version in versions]))
    sheet = reduce(lambda above, below: above.join(below, "vertical", expand=True, shim=_GAP, background=_PAPER), rows)
    framed = sheet.embed(
        _GAP, _GAP, sheet.width + 2 * _GAP, sheet.height + 2 * _GAP, extend="background", background=_PAPER
    )
    with replacing(out) as part:
        framed.pngsave(str(part), keep="none")
    return changes


def _whole(image: pyvips.Image) -> pyvips.Image:
    """Fit a picture into a panel, at most two panel widths high; a smaller picture keeps its size."""
    small = image.resize(min(1.0, PANEL / image.width, 2 * PANEL / image.height))
    return _panel(small)


def _panel(image: pyvips.Image) -> pyvips.Image:
    return image.embed(0, 0, PANEL, image.height, extend="background", background=_PAPER)


def _detail(image: pyvips.Image, corner: tuple[int, int]) -> pyvips.Image:
    side = PANEL // ZOOM
    left, top = corner
    part = image.crop(left, top, min(side, image.width - left), min(side * 3 // 4, image.height - top))
    return _panel(part.resize(ZOOM, kernel="nearest"))


def _row(panels: list[pyvips.Image]) -> pyvips.Image:
    return reduce(lambda left, right: left.join(right, "horizontal", expand=True, shim=_GAP, background=_PAPER), panels)


def _line(text: str, width: int) -> pyvips.Image:
    """Draw one line of text on white, cut at `width`."""
    mask = pyvips.Image.text(escape(text), dpi=96, font="sans 11")
    mask = mask.crop(0, 0, min(width, mask.width), mask.height)
    ink = mask.new_from_image(_INK).copy(interpretation="srgb")
    drawn = ink.bandjoin(mask).flatten(background=_PAPER)
    return drawn.embed(0, 4, width, drawn.height + 8, extend="background", background=_PAPER).cast("uchar")
