"""The contact sheet of an evaluation, for a visual comparison beside the numbers."""

from __future__ import annotations

import cv2
import numpy as np

from training.evaluate.metrics import Pixels

SIDE = 256
"""Side in pixels of the centre of each image that is shown, unscaled."""
LINE = 22


def sheet(rows: list[tuple[str, list[tuple[str, Pixels]]]]) -> Pixels:
    """Draw one row for each image and one column for each method, with their names; all images of a row have one size."""
    columns = max(len(pictures) for _, pictures in rows)
    page = np.full((len(rows) * (SIDE + 2 * LINE), columns * (SIDE + 4), 3), 255, np.uint8)
    for r, (name, pictures) in enumerate(rows):
        top = r * (SIDE + 2 * LINE)
        _write(page, name, 4, top + 15)
        for c, (method, pixels) in enumerate(pictures):
            left = c * (SIDE + 4) + 2
            _write(page, method, left, top + LINE + 15)
            part = _middle(pixels)
            page[top + 2 * LINE :, left:][: part.shape[0], : part.shape[1]] = part
    return page


def _middle(pixels: Pixels) -> Pixels:
    top, left = (max(0, side - SIDE) // 2 for side in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def _write(page: Pixels, text: str, left: int, base: int) -> None:
    cv2.putText(page, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
