"""Weave of the gate, taken out: sub-pixel motion of the whole picture, and the path of a shot that frames are moved back to.

Motion between neighbouring frames is found by phase correlation and refined by least squares. What deviates from the path's trend at random
is weave; pans, zooms and slow drifts are meant, and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from contract.time_filters import STABILISE
from media.alpha import alpha_of, carries_alpha
from workers.film.picture import Picture, Plane
from workers.film.repair import Measure, Repairer, counted
from workers.film.trend import deviation, unbroken

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour

Field = npt.NDArray[np.float32]
Shift = tuple[float, float]
"""Right and down, in pixels of the small luma."""

SIDE = 240
"""Pixels of the small luma's shorter side, about."""
MARGIN = 0.15
"""Part of each side that is left out: bars, the edges of the gate, and what comes into the picture."""
SMOOTHING = 1.0
"""Standard deviation in pixels of the Gaussian blur of the small luma: grain must not lead."""
ROUNDS = 4
"""Rounds of least squares; places that do not move with the picture are left out after each."""
SEARCH = 8
"""Pixels of half the small luma within which the motion of most of the picture is searched for."""
LARGE = 10.0
"""Code values beyond which a difference counts no more: another thing moves there."""
OUTLYING = 2.5
"""Multiples of the median error from which on a place does not move with the picture, but not below one code value."""
ALIKE = 0.8
"""Least correlation of aligned pictures that is trusted."""
UNSURE = 0.1
"""Standard error in pixels of the small luma from which on a shift is not trusted: the picture has no edges across it."""
SMALLEST = 0.08
"""Pixels of deviation, root mean square, that are no weave."""
LEAST_JUMP = 2.0
"""Pixels of a step that is never taken for a jump."""
MOST = 0.01
"""Largest correction, as a part of the picture's shorter side, but not below three pixels."""
LOBES = 3
"""Of the Lanczos kernel that resamples."""


@dataclass(frozen=True)
class Small:
    """The small luma's middle, and the size in pixels of one of its pixels, across and down."""

    luma: Field
    step: Shift


class Stabiliser(Repairer[Small, Shift]):
    """Filter that moves frames back to the path of their shot.

    The record of a frame is its shift right and down in pixels; as many columns and rows at its edges are repeated.
    """

    filter = STABILISE
    sentence = "moved by parts of a pixel: the picture wove, and its outermost pixels are repeated (--stabilise)"
    unchanged = (0.0, 0.0)

    def look(self, picture: Picture) -> Small:
        """Return the middle of the small smooth luma."""
        luma = picture.luma()
        height, width = luma.shape
        part = max(1, round(min(height, width) / SIDE))
        size = (max(1, width // part), max(1, height // part))
        small = cv2.GaussianBlur(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), (0, 0), SMOOTHING)
        left, top = int(size[0] * MARGIN), int(size[1] * MARGIN)
        middle = np.ascontiguousarray(small[top : size[1] - top, left : size[0] - left], dtype=np.float32)
        return Small(middle, (width / size[0], height / size[1]))

    def link(self, before: Small, after: Small) -> Shift | None:
        """Return the picture's motion, None where it is not certain."""
        return motion(before.luma, after.luma)

    def repaired(
        self, picture: Picture, at: int, around: dict[int, Measure[Small, Shift]]
    ) -> tuple[VideoFrame, object] | None:
        """Return the frame on the path of its shot, with its shift."""
        positions = counted(at, around)
        index = positions.index(at)
        most = max(3.0, MOST * min(picture.frame.height, picture.frame.width))
        shift = []
        for axis, step in enumerate(around[at].look.step):
            path = _path(axis, positions, around)
            part = unbroken(path, index, LEAST_JUMP / step)
            found = deviation(path[part], index - part.start)
            moved = round(-found.share * found.size * step, 3)
            shift.append(moved if found.usual * step >= SMALLEST and abs(moved) <= most else 0.0)
        if not any(shift):
            return None
        return _moved(picture, (shift[0], shift[1]), self.colour), (shift[0], shift[1])


def motion(before: Field, after: Field) -> Shift | None:
    """Return the shift from one small luma to the next one, in their pixels; None where it is not certain."""
    height, width = before.shape
    if min(height, width) < 16:
        return None
    if np.array_equal(before, after):
        return 0.0, 0.0
    right, down = min(_guesses(before, after), key=lambda guess: _cost(before, _shifted(after, -guess[0], -guess[1])))
    slopes = _slopes(before)
    error = _shifted(after, -right, -down) - before
    used = _following(error - float(np.median(error)))
    unsure = UNSURE
    for _ in range(ROUNDS):
        solved = _solved(slopes, before, error, used)
        if solved is None:
            return None
        steps, unsure, rest = solved
        right, down = right - steps[0], down - steps[1]
        if not (abs(right) < width / 4 and abs(down) < height / 4):
            return None
        used = _following(rest)
        error = _shifted(after, -right, -down) - before
    if unsure >= UNSURE or _correlation((before + error)[used], before[used]) < ALIKE:
        return None
    return round(right, 3), round(down, 3)


def _following(error: Field) -> npt.NDArray[np.bool_]:
    """Return the places that move with the picture."""
    off = np.abs(error)
    return np.asarray(off <= max(1.0, OUTLYING * float(np.median(off))))


def _guesses(before: Field, after: Field) -> list[Shift]:
    """List shifts to begin with: none, that of phase correlation, and that by which most of the picture's area is explained."""
    height, width = before.shape
    # OpenCV multiplies its arguments by the window where they lie.
    phase, _ = cv2.phaseCorrelate(before.copy(), after.copy(), _hanning(height, width))
    half = width // 2, height // 2
    one, other = (np.asarray(cv2.resize(p, half, interpolation=cv2.INTER_AREA)) for p in (before, after))
    reach = min(SEARCH, half[0] // 4, half[1] // 4)
    # Whole code values are enough to begin with, and are compared in half of the time.
    one, other = (np.rint(p).astype(np.uint8) for p in (one, other))
    inner = one[reach : half[1] - reach, reach : half[0] - reach]
    best, found = np.inf, (0, 0)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            rows = other[reach + down : half[1] - reach + down, reach + right : half[0] - reach + right]
            cost = cv2.sumElems(cv2.threshold(cv2.absdiff(inner, rows), LARGE, 0, cv2.THRESH_TRUNC)[1])[0]
            if cost < best:
                best, found = cost, (right, down)
    return [(0.0, 0.0), (float(phase[0]), float(phase[1])), (2.0 * found[0], 2.0 * found[1])]


def _cost(one: Field, other: Field) -> float:
    """Return how badly one picture explains another of the same size: the mean difference, of which each place has a limited part."""
    apart = np.abs(other - one)
    return float(np.minimum(apart, np.float32(LARGE), out=apart).mean(dtype=np.float64))


def _solved(
    slopes: tuple[Field, Field], before: Field, error: Field, used: npt.NDArray[np.bool_]
) -> tuple[tuple[float, float], float, Field] | None:
    """Explain `error` by a shift, a gain and an offset, by least squares over the places that are `used`.

    Return the shift, its standard error and what is left of the error; None if the picture is too flat.
    """
    terms = [*slopes, before - before.mean(), np.ones_like(before)]
    chosen = [term[used].astype(np.float64) for term in terms]
    wanted = error[used].astype(np.float64)
    # Sums of numpy, not of BLAS, whose order depends on the number of threads.
    normal = np.array([[float((a * b).sum()) for b in chosen] for a in chosen])
    if np.linalg.cond(normal) > 1e12:
        return None
    right_side = np.array([float((a * wanted).sum()) for a in chosen])
    solution = np.linalg.solve(normal, right_side)
    rest = error - sum(np.float32(value) * term for value, term in zip(solution, terms, strict=True))
    spread = float(np.square(rest[used].astype(np.float64)).mean())
    # Blurred errors are not independent: each counts for the area of the blur, 4 pi sigma^2.
    unsure = np.sqrt(spread * 4 * np.pi * SMOOTHING**2 * float(np.linalg.inv(normal)[:2, :2].diagonal().max()))
    return (float(solution[0]), float(solution[1])), float(unsure), np.asarray(rest, dtype=np.float32)


def _slopes(picture: Field) -> tuple[Field, Field]:
    across = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    return np.asarray(across), np.asarray(cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32))


def _correlation(one: Field, other: Field) -> float:
    x, y = one.astype(np.float64), other.astype(np.float64)
    spread = float(np.sqrt(x.var() * y.var()))
    return float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 0.0


@lru_cache(maxsize=8)
def _hanning(height: int, width: int) -> Field:
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F))


def _path(axis: int, positions: list[int], around: dict[int, Measure[Small, Shift]]) -> list[float]:
    """Return the sum of motions along an axis at each of the positions."""
    place, places = 0.0, {positions[0]: 0.0}
    for position in range(positions[0] + 1, positions[-1] + 1):
        link = around[position].link
        place += link[axis] if link else 0.0
        places[position] = place
    return [places[position] for position in positions]


def _shifted(plane: Plane, right: float, down: float) -> Field:
    """Return a plane (height x width, or x channels) moved by parts of pixels, as floats; its edges are repeated."""
    moved = cv2.sepFilter2D(
        plane.astype(np.float32), cv2.CV_32F, _kernel(right), _kernel(down), borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, dtype=np.float32).reshape(plane.shape)


def _kernel(shift: float) -> Field:
    """Return the Lanczos kernel that moves a line by `shift` pixels."""
    reach = int(np.ceil(abs(shift))) + LOBES
    places = np.arange(-reach, reach + 1, dtype=np.float64) + shift
    kernel = np.where(np.abs(places) < LOBES, np.sinc(places) * np.sinc(places / LOBES), 0.0)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _moved(picture: Picture, shift: Shift, colour: Colour) -> VideoFrame:
    """Return the frame moved right and down by `shift` pixels."""
    planes: list[Plane] = []
    for plane, members in zip(picture.planes, picture.form.order, strict=True):
        rows, columns = picture.form.down if picture.form.model == "yuv" and 0 not in members else (1, 1)
        planes.append(_shifted(plane, shift[0] / columns, shift[1] / rows))
    alpha = None
    if carries_alpha(picture.frame.format.name):
        alpha = _shifted(alpha_of(picture.frame), *shift)
    return picture.with_planes(planes, colour, alpha)
