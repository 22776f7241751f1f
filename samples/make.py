"""Maker of samples/media: a short film with sound and four photographs, aged by the second-order degradation.

The originals are public-domain and CC0 pictures that scikit-image ships; samples/README.md names them. Run it as
`python samples/make.py`; equal versions of the packages age the same pixels in the same way. With `--clean FOLDER` it
writes the clean pictures instead, as PNG: what `respool evaluate` measures generators on.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import skimage.data

from training.degrade.apply import degrade
from training.degrade.draw import Draw, draw

MEDIA = Path(__file__).parent / "media"
WIDTH, HEIGHT, RATE, SHOT = 320, 240, 24, 28
SOUND_RATE = 48_000

Pixels = npt.NDArray[np.uint8]

# Each shot: a picture, the seed of its draw, and the window (centre x, centre y, width) it moves from and to.
SHOTS = (
    ("rocket", 5, (330, 290, 380), (330, 190, 420)),
    ("astronaut", 11, (250, 190, 440), (225, 135, 280)),
    ("coffee", 5, (250, 190, 360), (340, 200, 400)),
)
# Each photograph: its file, a picture, the seed of its draw, the crop (left, top, width, height) and how much smaller.
PHOTOGRAPHS = (
    ("camera.png", "camera", 16, (100, 40, 360, 320), 2.25),
    ("chelsea.jpg", "chelsea", 11, (60, 0, 360, 300), 2.25),
    ("cup.png", "coffee", 21, (120, 40, 384, 320), 2.4),
    ("portraits/astronaut.jpg", "astronaut", 9, (80, 0, 290, 290), 1.8),
)


def frames(name: str, start: tuple[int, int, int], end: tuple[int, int, int]) -> list[Pixels]:
    """Return one clean shot at twice the film's size: a window that moves over the picture."""
    picture = getattr(skimage.data, name)()
    shot = []
    for n in range(SHOT):
        x, y, width = (a + (b - a) * n / (SHOT - 1) for a, b in zip(start, end, strict=True))
        zoom = 2 * WIDTH / width
        window = np.array([[zoom, 0, WIDTH - x * zoom], [0, zoom, HEIGHT - y * zoom]])
        size = (2 * WIDTH, 2 * HEIGHT)
        shot.append(cv2.warpAffine(picture, window, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))
    return shot


def sound(seconds: float) -> npt.NDArray[np.float32]:
    """Synthesise a quiet chord with a slow tremolo, shape (1, samples)."""
    t = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    chord = sum(np.sin(2 * np.pi * pitch * t) for pitch in (220.0, 277.18, 329.63))
    envelope = np.clip(np.minimum(t, t[-1] - t) * 4, 0, 1) * (0.75 + 0.25 * np.sin(2 * np.pi * 3 * t))
    return np.asarray(0.08 * chord * envelope, dtype=np.float32)[None]


def make_film(path: Path) -> list[Draw]:
    """Write the degraded film with its sound and return the draw of each shot."""
    draws = [draw(seed) for _, seed, *_ in SHOTS]
    with av.open(str(path), "w") as film:
        picture = film.add_stream("libx264", rate=RATE, options={"crf": "22", "preset": "slow"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track = film.add_stream("aac", rate=SOUND_RATE, layout="mono", options={"b": "64000"})
        n = 0
        for (name, _, start, end), drawn in zip(SHOTS, draws, strict=True):
            for clean in frames(name, start, end):
                frame = av.VideoFrame.from_ndarray(degrade(clean, drawn, 2, n), "rgb24")
                frame.pts, frame.time_base = n, Fraction(1, RATE)
                film.mux(picture.encode(frame))
                n += 1
        film.mux(picture.encode())
        audio = av.AudioFrame.from_ndarray(sound(n / RATE), "fltp", "mono")
        audio.sample_rate, audio.pts, audio.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        film.mux(track.encode(audio))
        film.mux(track.encode())
    return draws


def make_photograph(path: Path, name: str, seed: int, crop: tuple[int, int, int, int], scale: float) -> Draw:
    """Write one degraded photograph and return its draw; `crop` is (left, top, width, height), `scale` the reduction."""
    left, top, width, height = crop
    clean = np.ascontiguousarray(getattr(skimage.data, name)()[top : top + height, left : left + width])
    drawn = draw(seed)
    result = degrade(clean, drawn, scale)
    if result.ndim == 3:
        result = result[:, :, ::-1]
    if name == "coffee":
        # The photograph with alpha: the cup cut out in a soft oval.
        y, x = np.mgrid[: result.shape[0], : result.shape[1]]
        middle, radius = np.array(result.shape[:2]) / 2, np.array(result.shape[:2]) * 0.48
        distance = np.hypot((y - middle[0] + 0.5) / radius[0], (x - middle[1] + 0.5) / radius[1])
        alpha = np.clip((1 - distance) * 40, 0, 1) * 255
        result = np.dstack([result, alpha.round().astype(np.uint8)])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), result, [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == ".jpg" else [])
    return drawn


def write_clean(folder: Path) -> None:
    """Write the colour originals, each cropped to a multiple of four, so that a copy four times smaller has whole pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        picture = getattr(skimage.data, name)()
        height, width = (side // 4 * 4 for side in picture.shape[:2])
        cv2.imwrite(str(folder / f"{name}.png"), picture[:height, :width, ::-1])


def main() -> None:
    """Write samples/media, or with `--clean FOLDER` the clean originals."""
    if sys.argv[1:2] == ["--clean"]:
        write_clean(Path(sys.argv[2]))
        return
    MEDIA.mkdir(exist_ok=True)
    draws: dict[str, list[Draw]] = {"film.mp4": make_film(MEDIA / "film.mp4")}
    for file, *rest in PHOTOGRAPHS:
        draws[file] = [make_photograph(MEDIA / "photographs" / file, *rest)]
    (MEDIA / "draws.json").write_bytes(msgspec.json.format(msgspec.json.encode(draws), indent=1) + b"\n")


if __name__ == "__main__":
    main()
