"""Do the partners of a pair fit together: scale, shift to parts of a pixel, and content."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from contract.errors import BadInput
from training.degrade.apply import Pixels

MOST_SHIFT = 0.35
"""Low-resolution pixels. A generator trained on pairs further apart learns to move pictures or to blur them."""
_LEAST_RESPONSE = 0.08
"""Peak of the phase correlation below which pictures do not show the same: unrelated ones reach about 0.03."""
_FAR, _SURE_RESPONSE = 4.0, 0.2
"""A peak so far off must be so high to be taken for a shift; by chance, unrelated pictures have lower ones anywhere."""
_MOST_SPREAD = 0.6
"""Largest difference between the shifts of the four quarters: a larger one means another scale, rotation or distortion."""
_LEAST_SIDE = 32

Grey = npt.NDArray[np.float32]


def register(low: Pixels, high: Pixels, scale: int) -> tuple[float, float]:
    """Return how far `low` lies right of and below `high`, in low-resolution pixels.

    Raises BadInput, naming the misfit, for a pair of another scale, another content, or shifted by more than MOST_SHIFT.
    """
    wanted = (high.shape[0] / scale, high.shape[1] / scale)
    if abs(low.shape[0] - wanted[0]) >= 1 or abs(low.shape[1] - wanted[1]) >= 1:
        raise BadInput(
            f"wrong scale: {high.shape[1]}x{high.shape[0]} against {low.shape[1]}x{low.shape[0]} is "
            f"{high.shape[1] / low.shape[1]:.2f} across and {high.shape[0] / low.shape[0]:.2f} down, but the generator enlarges by {scale}."
        )
    height, width = min(low.shape[0], int(wanted[0])), min(low.shape[1], int(wanted[1]))
    if min(height, width) < _LEAST_SIDE:
        raise BadInput(
            f"too small: {width}x{height} pixels cannot be registered; at least {_LEAST_SIDE} a side are needed."
        )
    whole = high[: height * scale, : width * scale]
    small = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    a, b = _grey(small), _grey(low[:height, :width])
    right, down, response = _shift(a, b)
    far = np.hypot(right, down) > _FAR and response < _SURE_RESPONSE
    if response < _LEAST_RESPONSE or far:
        raise BadInput(
            f"no match: the two pictures do not show the same (phase correlation {response:.2f}, at least {_SURE_RESPONSE if far else _LEAST_RESPONSE} is needed)."
        )
    if np.hypot(right, down) > MOST_SHIFT:
        raise BadInput(
            f"shifted: the low-resolution picture lies {right:+.2f} pixels right and {down:+.2f} down of the other; "
            f"at most {MOST_SHIFT} is accepted, register the scans first."
        )
    spread = _spread(a, b)
    if spread > _MOST_SPREAD:
        raise BadInput(
            f"wrong scale or rotated: the quarters of the picture are shifted {spread:.2f} pixels apart; "
            f"at most {_MOST_SPREAD} is accepted."
        )
    return round(right, 3), round(down, 3)


def _grey(pixels: Pixels) -> Grey:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Brightness and slow shading, in which scans differ, carry no position.
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 8), dtype=np.float32)


def _shift(a: Grey, b: Grey) -> tuple[float, float, float]:
    """Shift of `b` against `a` and the height of the peak: whole pixels by phase correlation, parts by least squares."""
    window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (right, down), response = cv2.phaseCorrelate(a, b, window)
    whole_right, whole_down = round(right), round(down)
    part_right, part_down = _refine(a, b, whole_right, whole_down)
    return whole_right + part_right, whole_down + part_down, float(response)


def _refine(a: Grey, b: Grey, right: int, down: int) -> tuple[float, float]:
    """Least-squares optical flow of one translation (Lucas and Kanade, 1981) after the whole pixels are taken out.

    Phase correlation is biased towards whole pixels when one picture is blurred; both are blurred alike here first.
    """
    moved = np.roll(b, (-down, -right), (0, 1))
    edge = 4 + max(abs(right), abs(down))
    a_soft, b_soft = (np.asarray(cv2.GaussianBlur(p, (0, 0), 2.0), np.float32) for p in (a, moved))
    if min(a.shape) <= 2 * edge + 8:
        return 0.0, 0.0
    inside = (slice(edge, -edge), slice(edge, -edge))
    mean = (a_soft + b_soft) / 2
    gy, gx = (np.gradient(mean, axis=axis)[inside].ravel() for axis in (0, 1))
    difference = (a_soft - b_soft)[inside].ravel()
    matrix = np.array([[gx @ gx, gx @ gy], [gx @ gy, gy @ gy]])
    if np.linalg.cond(matrix) > 1e4:
        return 0.0, 0.0
    x, y = np.linalg.solve(matrix, np.array([gx @ difference, gy @ difference]))
    return float(np.clip(x, -1, 1)), float(np.clip(y, -1, 1))


def _spread(a: Grey, b: Grey) -> float:
    """Largest distance between the shifts of the quarters that have enough detail; 0 for small pictures."""
    height, width = (side // 2 for side in a.shape)
    if min(height, width) < _LEAST_SIDE:
        return 0.0
    shifts = []
    for top in (0, height):
        for left in (0, width):
            part = (slice(top, top + height), slice(left, left + width))
            if a[part].std() > 2 and b[part].std() > 2:
                right, down, response = _shift(a[part], b[part])
                if response >= _SURE_RESPONSE:  # a quarter of plain noise says nothing
                    shifts.append((right, down))
    return max((float(np.hypot(p[0] - q[0], p[1] - q[1])) for p in shifts for q in shifts), default=0.0)
