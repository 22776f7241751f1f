"""Clips with film damage of which everything is known: the clean clip, the damaged one, and every draw.

Draws and marks are those of `respool degrade` (`training/degrade/frame_draw.py`); grain is even in all tones here, and shifts are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from testkit.natural_clips import photograph
from training.degrade.frame_draw import (
    FrameDraw,
    Scratch,
    Speck,
    cover,
    draw_level,
    draw_scratch,
    draw_speck,
    marks,
    wandered,
)

HAIRS = 0.15
"""Share of hairs among specks."""
Pixels = npt.NDArray[np.uint8]
"""Height x width x 3, RGB."""


@dataclass(frozen=True)
class Amounts:
    """Strength of each kind of damage; 0 is none. Deviations are standard deviations."""

    flicker: float = 0.0
    """Deviation of a frame's gain."""
    offset: float = 0.0
    """Deviation of a frame's offset in code values."""
    uneven: float = 0.0
    """Deviation of the gain at an edge of a frame, across and down, from its middle's."""
    weave: float = 0.0
    """Deviation of a frame's shift in pixels, in each direction."""
    scratches: int = 0
    """Vertical scratches of a shot."""
    contrast: tuple[float, float] = (12.0, 60.0)
    """Least and largest contrast of a scratch in code values."""
    dust: float = 0.0
    """Mean number of specks and hairs of a frame."""
    grain: float = 0.0
    """Deviation of the grain in code values."""
    grain_size: float = 0.0
    """Standard deviation in pixels of the Gaussian by which the grain is smoothed; 0 is white grain."""


@dataclass
class Clip:
    """A clip and its damage."""

    clean: list[Pixels]
    damaged: list[Pixels] = field(default_factory=list)
    draws: list[FrameDraw] = field(default_factory=list)


def damage(clean: list[Pixels], amounts: Amounts, seed: int, shots: list[int] | None = None) -> Clip:
    """Damage a clip. `shots` numbers the shot of each frame (all 0 without it): scratches are drawn for each shot anew.

    The order is that of life: the scene weaves in the gate and flickers, the film has grain and scratches.
    """
    rng = np.random.default_rng(seed)
    made = Clip(clean)
    for _, frames in groupby(range(len(clean)), key=lambda n: shots[n] if shots else 0):
        width = clean[0].shape[1]
        scratches = tuple(draw_scratch(rng, width, amounts.contrast) for _ in range(amounts.scratches))
        for n in frames:
            picture, draw = _damaged(clean[n], amounts, scratches, rng)
            made.damaged.append(picture)
            made.draws.append(msgspec.structs.replace(draw, frame=n))
    return made


def _damaged(
    clean: Pixels, amounts: Amounts, scratches: tuple[Scratch, ...], rng: np.random.Generator
) -> tuple[Pixels, FrameDraw]:
    height, width = clean.shape[:2]
    picture = clean.astype(np.float32)
    right, down = (float(v) for v in rng.normal(0, 1, 2) * amounts.weave)
    if amounts.weave:
        picture = shifted(picture, right, down)
    gain, offset = draw_level(rng, amounts.flicker, amounts.offset)
    picture = picture * np.float32(gain) + np.float32(offset)
    if amounts.uneven:
        across, down_it = (np.cos(np.pi * (np.arange(side) + 0.5) / side) for side in (width, height))
        first, second = rng.normal(0, amounts.uneven, 2)
        picture = picture * (1 + first * across[None] + second * down_it[:, None])[..., None].astype(np.float32)
    if amounts.grain:
        picture = picture + _grain(rng, (height, width), amounts)[..., None]
    count = rng.poisson(amounts.dust) if amounts.dust else 0
    specks = tuple(draw_speck(rng, (height, width), HAIRS) for _ in range(count))
    lines = tuple(wandered(rng, scratch) for scratch in scratches)
    draw = FrameDraw(0, 0, (right, down), gain, offset, amounts.grain, amounts.grain_size, specks, lines)
    keep, add = (part[..., None] for part in marks(draw, (height, width)))
    return np.clip(np.rint(picture * keep + add), 0, 255).astype(np.uint8), draw


def _grain(rng: np.random.Generator, size: tuple[int, int], amounts: Amounts) -> npt.NDArray[np.float32]:
    grain = rng.normal(0, amounts.grain, (*size, 1))[..., 0].astype(np.float32)
    if amounts.grain_size:
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), amounts.grain_size), dtype=np.float32)
        grain *= np.float32(amounts.grain / grain.std())
    return grain


def shifted(picture: npt.NDArray[np.generic], right: float, down: float) -> npt.NDArray[np.float32]:
    """Return a picture moved by whole or fractional pixels, exactly at all frequencies; it goes on mirrored beyond its edges."""
    height, width = picture.shape[:2]
    wide = np.pad(picture.astype(np.float64), ((0, height), (0, width), (0, 0)), mode="symmetric")
    phase = np.fft.fftfreq(2 * height)[:, None, None] * down + np.fft.rfftfreq(2 * width)[None, :, None] * right
    spectrum = np.fft.rfft2(wide, axes=(0, 1)) * np.exp(-2j * np.pi * phase)
    return np.fft.irfft2(spectrum, wide.shape[:2], axes=(0, 1))[:height, :width].astype(np.float32)


def still(count: int, height: int = 120, width: int = 160) -> list[Pixels]:
    """Return a photograph that stands still."""
    return [np.ascontiguousarray(photograph(height, width)[:height, :width])] * count


def pan(count: int, height: int = 120, width: int = 160, step: tuple[float, float] = (3, 2)) -> list[Pixels]:
    """Return a photograph that moves left and up by `step` pixels a frame, whole ones or parts of them."""
    dx, dy = step
    wide = photograph(height + int(dy * count) + 2, width + int(dx * count) + 2)
    if dx == int(dx) and dy == int(dy):
        places = [(int(dx) * n, int(dy) * n) for n in range(count)]
        return [np.ascontiguousarray(wide[y : y + height, x : x + width]) for x, y in places]
    moved = []
    for n in range(count):
        x, y = int(dx * n), int(dy * n)
        part = shifted(wide[y : y + height + 2, x : x + width + 2], x - dx * n, y - dy * n)[:height, :width]
        moved.append(np.clip(np.rint(part), 0, 255).astype(np.uint8))
    return moved


def crossed(count: int, height: int = 120, width: int = 160) -> list[Pixels]:
    """Return a pan with a mirrored piece that crosses it the other way."""
    frames = pan(count, height, width)
    piece = photograph(height, width)[: height // 4, : width // 6][:, ::-1]
    for n, frame in enumerate(frames):
        left = min(5 * n, width - width // 6)
        frame[height // 3 : height // 3 + height // 4, left : left + width // 6] = piece
    return frames


def faded(count: int, height: int = 120, width: int = 160) -> list[Pixels]:
    """Return a pan that stands black, fades in, stays and fades out."""
    ramp = np.interp(np.arange(count), [0.15 * count, 0.4 * count, 0.6 * count, 0.85 * count], [0, 1, 1, 0])
    frames = zip(pan(count, height, width, (1, 0)), ramp, strict=True)
    return [np.rint(frame * part).astype(np.uint8) for frame, part in frames]


def cuts(count: int, height: int = 120, width: int = 160, every: int = 5) -> list[Pixels]:
    """Return shots of `every` frames."""
    frames = pan(count, height, width, (2, 1))
    turned = [
        lambda f: f,
        lambda f: f[::-1],
        lambda f: f[:, ::-1],
        lambda f: 255 - f,
        lambda f: (f // 2)[::-1, ::-1],
    ]
    return [np.ascontiguousarray(turned[n // every % 5](frame)) for n, frame in enumerate(frames)]


def confetti(count: int, height: int = 120, width: int = 160, seed: int = 1, pieces: int = 60) -> list[Pixels]:
    """Return a still picture before which coloured pieces fall."""
    rng = np.random.default_rng(seed)
    back = still(1, height, width)[0]
    places = rng.uniform(0, 1, (pieces, 2)) * (height, width)
    speeds, colours = rng.uniform((2, -2), (7, 2), (pieces, 2)), rng.integers(0, 256, (pieces, 3))
    frames = []
    for n in range(count):
        frame = back.copy()
        for (y, x), (dy, dx), colour in zip(places, speeds, colours, strict=True):
            top, left = int(y + dy * n) % height, int(x + dx * n) % width
            frame[top : top + 3, left : left + 3] = colour
        frames.append(frame)
    return frames


def rain(count: int, height: int = 120, width: int = 160, seed: int = 2, drops: int = 80) -> list[Pixels]:
    """Return a slow pan behind streaks of rain that are elsewhere in each frame."""
    rng = np.random.default_rng(seed)
    frames = pan(count, height, width, (1, 0))
    for frame in frames:
        for y, x in (rng.uniform(0, 1, (drops, 2)) * (height, width)).astype(int):
            streak = frame[y : y + 12, x : x + 1].astype(np.float32)
            frame[y : y + 12, x : x + 1] = np.rint(0.6 * streak + 0.4 * 255).astype(np.uint8)
    return frames


def titles(count: int, height: int = 120, width: int = 160) -> list[Pixels]:
    """Return a still picture over which white titles roll; between them one stands for six frames."""
    back = still(1, height, width)[0]
    frames = []
    for n in range(count):
        frame = back.copy()
        rolled = height - 2 * n % (height + 40)
        cv2.putText(frame, "A FILM", (10, rolled), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        if n % 15 < 6:
            cv2.putText(frame, "I I I", (width // 2, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (250, 250, 200), 2)
        frames.append(frame)
    return frames


def whipped(count: int, height: int = 120, width: int = 160) -> list[Pixels]:
    """Return a picture that moves by an eighth of its width a frame, and a ball that crosses it faster."""
    frames = pan(count, height, width, (width // 8, 1))
    for n, frame in enumerate(frames):
        middle = (width - 23 * n) % width, height // 2 + 3 * (n % 7)
        cv2.circle(frame, middle, 4, (240, 240, 230), -1)
    return frames


def snow(count: int, height: int = 120, width: int = 160, seed: int = 4, flakes: int = 60) -> list[Pixels]:
    """Return a still picture before which soft flakes fall."""
    rng = np.random.default_rng(seed)
    back = still(1, height, width)[0].astype(np.float32)
    places, speeds = rng.uniform(0, 1, (flakes, 2)) * (height, width), rng.uniform((1.5, -1), (4, 1), (flakes, 2))
    sizes, frames = rng.uniform(0.8, 2.0, flakes), []
    for n in range(count):
        frame = back
        for (y, x), radius in zip((places + n * speeds) % (height, width), sizes, strict=True):
            part = cover(Speck(((float(x), float(y), float(radius)),), 0), (height, width))[..., None]
            frame = frame * (1 - 0.8 * part) + 0.8 * 255 * part
        frames.append(np.rint(frame).astype(np.uint8))
    return frames


FAST = {"fast motion": whipped, "snow": snow}
"""Clips that tempt what looks for dirt, by name."""

CLIPS = {
    "still": still,
    "pan": pan,
    "pan, crossed": crossed,
    "fades": faded,
    "cuts every 5 frames": cuts,
    "confetti": confetti,
    "rain": rain,
    "titles": titles,
}
"""Clips by name: functions of the number of frames, height and width."""
