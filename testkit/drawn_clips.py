"""A drawn film for benchmarks: flat colours, dark outlines, a figure that moves before a background that pans, each drawing held twice."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
_LINE = (28, 22, 34)
"""Colour of the outlines."""


def drawing(height: int, width: int, number: int, seed: int = 0) -> Pixels:
    """Draw picture `number` of a seeded scene; H x W x 3 RGB, lines and fills without noise."""
    rng = np.random.default_rng(seed)
    sky, ground, coat, skin = (tuple(int(v) for v in rng.integers(70, 240, 3)) for _ in range(4))
    unit = height / 72
    thick = max(1, round(unit))
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = sky
    pan = round(number * unit)
    horizon = round(height * 0.62)
    cv2.rectangle(picture, (0, horizon), (width, height), ground, -1)
    cv2.line(picture, (0, horizon), (width, horizon), _LINE, thick, cv2.LINE_AA)
    for n in range(6):
        left, roof = round(n * 22 * unit) - pan, round((18 + 9 * (n % 3)) * unit)
        wall = tuple(int(v) for v in rng.integers(90, 250, 3))
        corners = np.array([[left, horizon], [left, roof], [left + round(9 * unit), roof - round(7 * unit)],
                            [left + round(18 * unit), roof], [left + round(18 * unit), horizon]], np.int32)  # fmt: skip
        cv2.fillPoly(picture, [corners], wall, cv2.LINE_AA)
        cv2.polylines(picture, [corners], True, _LINE, thick, cv2.LINE_AA)
        for window in range(2):
            at = left + round((4 + 7 * window) * unit), roof + round(5 * unit)
            cv2.rectangle(picture, at, (at[0] + round(4 * unit), at[1] + round(5 * unit)), (250, 236, 150), -1)
            cv2.rectangle(picture, at, (at[0] + round(4 * unit), at[1] + round(5 * unit)), _LINE, thick, cv2.LINE_AA)
    _figure(picture, unit, thick, number, (coat, skin))
    return picture


def _figure(
    picture: Pixels, unit: float, thick: int, number: int, colours: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    coat, skin = colours
    middle, head = (round((30 + 2 * number) * unit), round(52 * unit)), round(7 * unit)
    body = (middle[0], middle[1] + round(14 * unit))
    cv2.ellipse(picture, body, (round(8 * unit), round(13 * unit)), 0, 0, 360, coat, -1, cv2.LINE_AA)
    cv2.ellipse(picture, body, (round(8 * unit), round(13 * unit)), 0, 0, 360, _LINE, thick, cv2.LINE_AA)
    cv2.circle(picture, middle, head, skin, -1, cv2.LINE_AA)
    cv2.circle(picture, middle, head, _LINE, thick, cv2.LINE_AA)
    for side in (-1, 1):
        eye = middle[0] + round(side * 2.5 * unit), middle[1] - round(unit)
        cv2.circle(picture, eye, max(1, round(1.2 * unit)), _LINE, -1, cv2.LINE_AA)
    cv2.ellipse(
        picture,
        (middle[0], middle[1] + round(2 * unit)),
        (round(3 * unit), round(2 * unit)),
        0,
        20,
        160,
        _LINE,
        thick,
        cv2.LINE_AA,
    )
