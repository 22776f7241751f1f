"""The damage of single frames: what is drawn for each, its record, and the pixels that it covers. Plain numbers and numpy, no torch.

Lengths are in pixels of the degraded copy, whose pixel (0, 0) has its middle at 0; levels are code values of 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from contract.errors import BadInput
from training.degrade.draw import FilmDraw

Field = npt.NDArray[np.float32]
Box = tuple[slice, slice]
Disc = tuple[float, float, float]

RADIUS = 1.0, 3.5
"""Least and largest radius of a speck."""
HAIR = 0.8
"""Radius of a hair."""
MARGIN = 8
"""Pixels at either side of a picture in which no scratch begins; a quarter of a narrow one."""
OF_FRAME, OF_SHOT = 1, 2
"""Numbers that keep the draws of frames and those of shots apart."""
WANDER = 0.3
"""Standard deviation of a scratch's column from frame to frame."""


class Speck(Struct, frozen=True, forbid_unknown_fields=True):
    """Dust on one frame: discs (column, row, radius) that overlap, or follow each other as a hair, and their code value."""

    discs: tuple[Disc, ...]
    tone: float
    hair: bool = False


class Scratch(Struct, frozen=True, forbid_unknown_fields=True):
    """A vertical line over the whole height: its column, its contrast at the middle, and the deviation of its Gaussian profile."""

    column: float
    contrast: float
    width: float


class FrameDraw(Struct, frozen=True, forbid_unknown_fields=True):
    """All that was drawn for frame `frame` of a film, which belongs to shot `shot`; both count from 0.

    `shift` is right and down. A sample v becomes `gain` * v + `offset`. `grain` is the standard deviation of the grain at mid grey, `grain_size`
    that of the Gaussian by which it is smoothed. `scratches` have their columns in this frame.
    """

    frame: int
    shot: int = 0
    shift: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    offset: float = 0.0
    grain: float = 0.0
    grain_size: float = 0.0
    specks: tuple[Speck, ...] = ()
    scratches: tuple[Scratch, ...] = ()


def draw_frame(film: FilmDraw, seed: int, frame: int, size: tuple[int, int], shot: int = 0) -> FrameDraw:
    """Draw the damage of one frame of (height, width) `size`; `seed` is that of the shot, whose strengths are in `film`.

    Nothing is drawn in turn with other frames, so the result is the same whichever frames were drawn before.
    """
    rng = np.random.default_rng((OF_FRAME, frame, seed if film.frames is None else film.frames))
    right, down = (float(v) * film.weave for v in rng.normal(0, 1, 2))
    gain, offset = draw_level(rng, film.flicker, film.offset)
    expected = (film.dust + film.hairs) * size[0] * size[1] / 1e6
    share = film.hairs / (film.dust + film.hairs) if expected else 0.0
    specks = tuple(draw_speck(rng, size, share) for _ in range(rng.poisson(expected)))
    lines = np.random.default_rng((OF_SHOT, seed))  # equal in all frames of a shot
    scratches = [draw_scratch(lines, size[1], film.scratch_contrast) for _ in range(lines.poisson(film.scratches))]
    return FrameDraw(
        frame,
        shot,
        (right, down),
        gain,
        offset,
        film.grain,
        film.grain_size,
        specks,
        tuple(wandered(rng, scratch) for scratch in scratches),
    )


def draw_level(rng: np.random.Generator, flicker: float, offset: float) -> tuple[float, float]:
    """Draw a frame's gain and its offset in code values from their standard deviations."""
    return 1 + flicker * float(rng.normal()), offset * float(rng.normal())


def draw_scratch(rng: np.random.Generator, width: int, contrast: tuple[float, float]) -> Scratch:
    """Draw a scratch of a shot whose pictures are `width` pixels wide; `contrast` is its least and largest."""
    sign = 1 if rng.random() < 0.7 else -1  # scratches of a negative print white
    margin = min(MARGIN, width / 4)
    column = float(rng.uniform(margin, width - margin))
    return Scratch(column, sign * float(rng.uniform(*contrast)), float(rng.uniform(0.5, 1.0)))


def wandered(rng: np.random.Generator, scratch: Scratch) -> Scratch:
    """Return a scratch at its column in the next frame."""
    return msgspec.structs.replace(scratch, column=scratch.column + WANDER * float(rng.normal()))


def draw_speck(rng: np.random.Generator, size: tuple[int, int], hairs: float) -> Speck:
    """Draw a speck or, with probability `hairs`, a hair on a picture of (height, width) `size`."""
    x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
    tone = float(rng.uniform(200, 250) if rng.random() < 0.7 else rng.uniform(5, 40))  # dust on a negative prints white
    if rng.random() < hairs:  # thin, and bent
        turn, bend, discs = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.12), []
        for _ in range(int(rng.integers(8, 22))):
            discs.append((float(x), float(y), HAIR))
            x, y, turn = x + np.cos(turn), y + np.sin(turn), turn + bend
        return Speck(tuple(discs), tone, hair=True)
    radius = float(rng.uniform(*RADIUS))
    spread = rng.normal(0, 0.6 * radius, (3, 2))
    sizes = radius * rng.uniform(0.5, 1.0, 3)
    return Speck(
        tuple((float(x + u), float(y + v), float(one)) for (u, v), one in zip(spread, sizes, strict=True)), tone
    )


def cover(speck: Speck, size: tuple[int, int]) -> Field:
    """Return how much of each pixel of a picture of (height, width) `size` a speck covers, 0 to 1."""
    covered = np.zeros(size, np.float32)
    box, part = _covered(speck, size)
    covered[box] = part
    return covered


def _covered(speck: Speck, size: tuple[int, int]) -> tuple[Box, Field]:
    """Return the rows and columns of a picture that a speck reaches, and how much of their pixels it covers."""
    left, right = (
        int(np.clip(edge, 0, size[1]))
        for edge in (min(x - r for x, _, r in speck.discs) - 1, max(x + r for x, _, r in speck.discs) + 2)
    )
    top, bottom = (
        int(np.clip(edge, 0, size[0]))
        for edge in (min(y - r for _, y, r in speck.discs) - 1, max(y + r for _, y, r in speck.discs) + 2)
    )
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    columns = np.arange(left, right, dtype=np.float32)[None]
    covered = np.zeros((bottom - top, right - left), np.float32)
    for x, y, radius in speck.discs:
        np.maximum(covered, np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1), out=covered)
    return (slice(top, bottom), slice(left, right)), covered


def profile(scratch: Scratch, width: int) -> Field:
    """Return the code values that a scratch adds to each of `width` columns."""
    line = np.exp(-((np.arange(width) - scratch.column) ** 2) / (2 * scratch.width**2))
    return np.asarray(scratch.contrast * line, dtype=np.float32)


def marks(drawn: FrameDraw, size: tuple[int, int]) -> tuple[Field, Field]:
    """Return what dust and scratches make of a picture v of (height, width) `size`: `keep` * v + `add`, both of that size.

    `keep` is 1 beside dust and 0 under it; `add` is in code values.
    """
    keep, add = np.ones(size, np.float32), np.zeros(size, np.float32)
    for speck in drawn.specks:
        box, part = _covered(speck, size)
        keep[box] *= 1 - part
        add[box] = add[box] * (1 - part) + np.float32(speck.tone) * part
    for scratch in drawn.scratches:
        add += profile(scratch, size[1])[None]
    return keep, add


def read_frames(path: Path) -> Iterator[FrameDraw]:
    """Yield the records of a film's frames, in their order, from the file that `respool degrade` wrote beside the copy.

    Raises BadInput, with the line's number, for anything else.
    """
    decoder = msgspec.json.Decoder(FrameDraw)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise BadInput(
                    f"line {number} of {path.name} is no record of a frame: {error}; name the .frames.jsonl of a copy."
                ) from error
