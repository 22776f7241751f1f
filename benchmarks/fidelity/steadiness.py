"""Frames that boil, and frames that `--steady` calmed: `python -m benchmarks.fidelity.steadiness` prints the table of docs/film-time.md.

A still picture and two moving ones get fresh grain (standard deviation 8, then JPEG 75) in each frame, and go through each generator as
they are and steadied. Their clean large pictures are the truth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from contract.film import Colour
from contract.job import Spec
from contract.settings import Settings
from testkit.natural_clips import photograph
from weights import catalog
from weights.fetch import fetch
from weights.pin import describe
from workers.film import colour
from workers.film.frame_marks import Clock
from workers.film.steady import Steadier
from workers.generators.enhancer import Enhancer
from workers.generators.registry import load

Pixels = npt.NDArray[np.uint8]

FRAMES = 11
LOOKED = slice(4, 8)
"""Frames whose whole windows are there."""
COLOUR = Colour("bt601", False)


def main() -> int:
    """Print a row for each generator and clip."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.steadiness", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--models", nargs="*", default=["lanczos", "realesr-animevideov3", "RealESRGAN_x4plus"])
    parser.add_argument(
        "--size", type=int, nargs=2, default=(96, 72), metavar=("WIDTH", "HEIGHT"), help="of the source"
    )
    parser.add_argument("--sigma", type=float, default=8.0)
    asked = parser.parse_args()
    print("| generator | clip | change, 99th percentile | temporal error | PSNR, dB |")
    print("| --- | --- | --- | --- | --- |")
    for model in asked.models:
        enhancer = loaded(model)
        for clip, truth in _clips(*asked.size).items():
            source = [_grainy(_smaller(t, (asked.size[0], asked.size[1])), n, asked.sigma) for n, t in enumerate(truth)]
            rows = [
                _scores(_enlarged(enhancer, frames), truth[LOOKED])
                for frames in (list(_frames(source)), _steadied(source))
            ]
            cells = (f"{before:.{d}f} -> {after:.{d}f}" for before, after, d in zip(*rows, (0, 2, 2), strict=True))
            print(f"| {model} | {clip} | {' | '.join(cells)} |", flush=True)
    seconds = _cost()
    print(f"steadying a moving frame of 640x480: {seconds * 1000:.0f} ms of one processor's time")
    return 0


def _clips(width: int, height: int) -> dict[str, list[Pixels]]:
    """Return clean clips at four times the size."""
    wide, high = 4 * width, 4 * height
    whole = photograph(high + 4 * FRAMES, wide + 8 * FRAMES)
    pan = [np.ascontiguousarray(whole[3 * n : 3 * n + high, 7 * n : 7 * n + wide]) for n in range(FRAMES)]
    crossed = [picture.copy() for picture in pan]
    for n, picture in enumerate(crossed):
        left = 14 * n
        picture[high // 3 : high // 2, left : left + wide // 6] = whole[: high // 2 - high // 3, : wide // 6][:, ::-1]
    return {"still": [pan[0]] * FRAMES, "pan": pan, "pan, crossed": crossed}


def _grainy(picture: Pixels, seed: int, sigma: float) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    noisy = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]


def _smaller(picture: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _frames(pictures: list[Pixels]) -> Iterator[tuple[int, av.VideoFrame]]:
    for n, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        yield n, frame.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG")


def _steadied(pictures: list[Pixels]) -> list[tuple[int, av.VideoFrame]]:
    steadier = Steadier(1.0, COLOUR, Clock())
    return list(steadier.filtered(_frames(pictures)))


def _enlarged(enhancer: Enhancer, frames: list[tuple[int, av.VideoFrame]]) -> list[Pixels]:
    found = []
    for _, frame in frames[LOOKED]:
        rgb = colour.to_rgb(frame, COLOUR)
        larger = enhancer.frames(rgb, (4 * frame.height, 4 * frame.width))
        found.append(torch.round(larger[0].clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy())
    return found


def _scores(found: list[Pixels], truth: list[Pixels]) -> tuple[float, float, float]:
    """Return the 99th percentile of the change between frames, the RMS error of the change, and the PSNR."""
    steps = [b.astype(np.float32) - a for a, b in pairwise(found)]
    right = [b.astype(np.float32) - a for a, b in pairwise(truth)]
    change = float(np.mean([np.percentile(np.abs(step), 99) for step in steps]))
    error = float(np.sqrt(np.mean([np.mean((s - r) ** 2) for s, r in zip(steps, right, strict=True)])))
    apart = float(np.mean([np.mean((f.astype(np.float32) - t) ** 2) for f, t in zip(found, truth, strict=True)]))
    return change, error, float(10 * np.log10(255**2 / apart))


def loaded(model: str) -> Enhancer:
    """Return a generator of the catalog, on the CPU."""
    if model == "lanczos":
        return load(Spec(model="lanczos", scale=4.0), {}, Settings(device="cpu"))
    entry = catalog.load(Settings()).find(model)
    file = fetch(entry, Settings())
    pinned = describe(entry, file)
    return load(Spec(model=model, weights=(pinned,)), {pinned.sha256: file.path}, Settings(device="cpu"))


def _cost() -> float:
    """Return the processor seconds that steadying takes for a frame of 640x480 in which everything moves."""
    cv2.setNumThreads(1)
    pictures = [_grainy(p, n, 8.0) for n, p in enumerate(_clips(160, 120)["pan, crossed"])]
    began = time.process_time()
    _steadied(pictures)
    return (time.process_time() - began) / FRAMES


if __name__ == "__main__":
    sys.exit(main())
