"""Generators on natural and on drawn films: `python -m benchmarks.fidelity.film_model` prints the table of docs/decisions/0018.

Clips of 96 x 72 pixels are made from large clean ones by averaging areas, with fresh grain in each frame and JPEG, as a compressed film
has them; each generator enlarges them four times. The clean clips are the truth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import torch

from contract.job import Spec
from contract.settings import Settings
from testkit.drawn_clips import drawing
from training.evaluate.metrics import niqe, psnr, ssim
from weights import catalog
from weights.fetch import fetch
from weights.pin import describe
from workers.generators.enhancer import Enhancer
from workers.generators.registry import load

Pixels = npt.NDArray[np.uint8]

SCALE = 4
FRAMES = 4
"""Of each clip: two drawings, each held for two frames, or four steps of a camera."""
MODELS = ("lanczos", "realesr-animevideov3", "RealESRGAN_x4plus_anime_6B", "RealESRGAN_x4plus")
SIGMA, QUALITY = 6.0, 75
"""Standard deviation of the grain in code values, and quality of the JPEG behind it."""


def main() -> int:
    """Print a row for each generator and material, and one for its time."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.film_model", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--size", type=int, nargs=2, default=(96, 72), metavar=("WIDTH", "HEIGHT"))
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    width, height = asked.size
    print("| generator | material | PSNR, dB | SSIM | NIQE | temporal error | s a megapixel |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in asked.models:
        enhancer = _loaded(model)
        for material, clips in _clips(SCALE * width, SCALE * height).items():
            found = [_judged(enhancer, clip, n, (width, height)) for n, clip in enumerate(clips)]
            quality, share, natural, error, spent = (float(np.mean(column)) for column in zip(*found, strict=True))
            print(
                f"| {model} | {material} | {quality:.2f} | {share:.3f} | {natural:.2f} | {error:.2f} | {spent:.1f} |",
                flush=True,
            )
    return 0


def _clips(width: int, height: int) -> dict[str, list[list[Pixels]]]:
    """Return clean clips: pans over photographs, and drawn scenes."""
    from skimage import data

    natural = []
    for picture in (data.astronaut(), data.chelsea(), data.coffee()):
        larger = max(1.0, (width + 8 * FRAMES) / picture.shape[1], (height + 4 * FRAMES) / picture.shape[0])
        wide = cv2.resize(picture, None, fx=larger, fy=larger, interpolation=cv2.INTER_CUBIC)
        natural.append([_window(wide, 7 * n, 3 * n, width, height) for n in range(FRAMES)])
    drawn = [[drawing(height, width, n // 2, seed) for n in range(FRAMES)] for seed in (1, 2, 3)]
    return {"natural": natural, "drawn": drawn}


def _window(picture: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def _judged(
    enhancer: Enhancer, clip: list[Pixels], seed: int, size: tuple[int, int]
) -> tuple[float, float, float, float, float]:
    """Return PSNR, SSIM, NIQE, temporal error and seconds a megapixel of one clip."""
    rng = np.random.default_rng(seed)
    source = [
        _filmed(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), rng)
        for frame in clip
    ]
    _enlarged(enhancer, source[0])  # what is compiled or loaded on the first frame is no frame's time
    began = time.process_time()
    made = [_enlarged(enhancer, frame) for frame in source]
    spent = (time.process_time() - began) / len(made) / (size[0] * size[1] / 1e6)

    def mean(measure: Callable[[Pixels, Pixels], float]) -> float:
        return float(np.mean([measure(frame, clean) for frame, clean in zip(made, clip, strict=True)]))

    steps = [b.astype(np.float32) - a for a, b in pairwise(made)]
    right = [b.astype(np.float32) - a for a, b in pairwise(clip)]
    error = float(np.sqrt(np.mean([np.mean((s - r) ** 2) for s, r in zip(steps, right, strict=True)])))
    return (
        mean(lambda frame, clean: psnr(frame, clean, SCALE)),
        mean(lambda frame, clean: ssim(frame, clean, SCALE)),
        mean(lambda frame, _: niqe(frame, SCALE)),
        error,
        spent,
    )


def _filmed(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a picture with fresh grain and the traces of compression."""
    noisy = np.clip(np.rint(picture + rng.normal(0, SIGMA, picture.shape)), 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]


def _enlarged(enhancer: Enhancer, picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    frame = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    larger = enhancer.frames(frame, (SCALE * height, SCALE * width))
    enhancer.forget()  # a frame that repeats the one before would cost nothing, and the time is the network's
    return torch.round(larger[0].clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()


def _loaded(model: str) -> Enhancer:
    if model == "lanczos":
        return load(Spec(model="lanczos", scale=float(SCALE)), {}, Settings(device="cpu"))
    entry = catalog.load(Settings()).find(model)
    file = fetch(entry, Settings())
    pinned = describe(entry, file)
    return load(Spec(model=model, weights=(pinned,)), {pinned.sha256: file.path}, Settings(device="cpu"))


if __name__ == "__main__":
    sys.exit(main())
