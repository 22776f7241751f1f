"""Savings and losses of cheaper ways for a network's easy squares: ``python -m benchmarks.speed.less_than_dense [--models M ...]``.

Each square of 32x32 input pixels is judged by a cheap test of the input: flat (its largest range in a channel is at most a limit)
or sharp already (its mean step between neighbours is at least a limit). Squares that pass take a cheaper way: the network's base
(the nearest pixel), a cubic of the picture or of a blurred one, or for RealESRGAN_x4plus realesr-animevideov3. For each, the tables
have the share of squares that pass, the network's work that remains when its halo is computed around the others, the PSNR lost
against the full network, by the truth (mean, and the worst picture), and the largest difference from the full network in code values.

Two rows know the answer: the squares on which the cheap way is within 4 code values of the network, found by computing both, and
the same after the cheap way's mean colour was set to the network's. No test of the input can pass more squares within the bound.

Materials: 20 photographs and scans of scikit-image, reduced to a quarter, so that the truth is known, and two films, a pan over a
photograph and a drawn one, of 3 frames of 320x256 each. A third table reuses squares of the previous frame in films whose pictures are held
for two frames, with grain, encoded by x264 at CRF 18 and 23: where all pixels that the result depends on are equal, or differ by little.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.speed.models import enhancer
from contract.settings import Settings
from testkit.drawn_clips import drawing
from testkit.natural_clips import photograph
from workers.generators.enhancer import Enhancer

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]

SCALE, SIDE, BOUND = 4, 32, 4
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "hubble_deep_field end", "moon", "page", "retina", "rocket", "text", "stereo left", "stereo right",
)  # fmt: skip
LARGEST = 768
"""Pixels of a photograph's larger side, before it is reduced to a quarter."""
RANGES, STEPS = (4, 8, 16, 32), (8, 16, 24)
BLURS = {"cubic": 0.0, "cubic of a blurred picture": 1.5}
HELD = (0, 1, 2, 4, 8)
REACHES = {"realesr-animevideov3": 18}
"""Input pixels around a square that its result depends on, where the enhancer's own halo is wider, so that rounding is the same, too."""


@dataclass(frozen=True)
class Sample:
    """An input, H x W x 3 in whole squares, with the picture that it was reduced from, the full network's and the cheap ways' results."""

    rgb: Pixels
    truth: Pixels
    full: Values
    cheap: dict[str, Values]


def photographs() -> Iterator[Pixels]:
    """Yield the photographs, cropped to whole squares of the network's input."""
    from skimage import data

    for name in PHOTOGRAPHS:
        stereo = name.startswith("stereo")
        found = (
            data.stereo_motorcycle()[name.endswith("right")] if stereo else getattr(data, name.removesuffix(" end"))()
        )
        found = found[::-1, ::-1] if name.endswith(" end") else found  # the corner that the first crop leaves out
        colour = np.repeat(found[..., None], 3, -1) if found.ndim == 2 else found[..., :3]
        grid = SIDE * SCALE
        height, width = (min(side, LARGEST) // grid * grid for side in colour.shape[:2])
        yield np.ascontiguousarray(colour[:height, :width])


def film(kind: str, frames: int) -> list[Pixels]:
    """Return clean frames of 1280x1024: a pan over a photograph of some softness, as films have, or a drawing that moves."""
    height, width = 1024, 1280
    if kind == "drawn film":
        return [drawing(height, width, n, 1) for n in range(frames)]
    seen = photograph(512, 640)[:512, :640]
    whole = cv2.resize(seen, (width + 8 * frames, height + 4 * frames), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(whole[3 * n : 3 * n + height, 7 * n : 7 * n + width], np.uint8) for n in range(frames)]


def reduced(clean: Pixels) -> Pixels:
    """Reduce a picture to a quarter, by the mean of areas."""
    height, width = clean.shape[:2]
    return np.asarray(cv2.resize(clean, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA), np.uint8)


def enlarged(network: Enhancer, rgb: Pixels) -> Values:
    """Return the network's result in code values, rounded, of a frame that shares nothing with the last one."""
    network.forget()
    frame = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
    made = network.frames(frame.to(network.device), (rgb.shape[0] * SCALE, rgb.shape[1] * SCALE))
    return (made * 255).round()[0].permute(1, 2, 0).cpu().numpy()


def cheap_ways(rgb: Pixels, smaller: Enhancer | None) -> dict[str, Values]:
    """Return the results of all cheap ways in code values."""
    size = (rgb.shape[1] * SCALE, rgb.shape[0] * SCALE)
    made: dict[str, Values] = {
        "nearest pixel": cv2.resize(rgb, size, interpolation=cv2.INTER_NEAREST).astype(np.float32)
    }
    for name, sigma in BLURS.items():
        plain = rgb.astype(np.float32)
        source = cv2.GaussianBlur(plain, (0, 0), sigma) if sigma else plain
        made[name] = cv2.resize(source, size, interpolation=cv2.INTER_CUBIC).round().clip(0, 255)
    if smaller is not None:
        made[smaller.name] = enlarged(smaller, rgb)
    return made


def squares(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """View H x W x C as rows x columns x (side * side) x C, one square each."""
    height, width, channels = values.shape
    parts = values.reshape(height // side, side, width // side, side, channels).swapaxes(1, 2)
    return parts.reshape(height // side, width // side, side * side, channels)


def flatness(rgb: Pixels) -> npt.NDArray[np.int64]:
    """Return each square's largest range of a channel."""
    parts = squares(rgb.astype(np.int64), SIDE)
    return np.asarray((parts.max(2) - parts.min(2)).max(-1))


def sharpness(rgb: Pixels) -> npt.NDArray[np.float64]:
    """Return each square's mean step between neighbours, across and down, in code values."""
    grey = rgb.astype(np.float64).mean(-1)
    steps = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    return np.asarray(squares(steps[..., None], SIDE).mean((2, 3)))


def differences(sample: Sample, cheap: Values, colour_known: bool = False) -> Values:
    """Return each square's largest difference from the full network, of the cheap way or after its mean colour was set right."""
    error = squares(sample.full - cheap, SIDE * SCALE)
    if colour_known:
        error = error - error.mean(2, keepdims=True)
    return np.asarray(np.abs(error).max((2, 3)), np.float32)


def work_left(passed: Marks, halo: int) -> float:
    """Return the share of input pixels that lie in squares that did not pass, or within `halo` of them."""
    hard = np.kron(~passed, np.ones((SIDE, SIDE), np.uint8)).astype(np.uint8)
    kernel = np.ones((2 * halo + 1, 2 * halo + 1), np.uint8)
    return float(cv2.dilate(hard, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).mean())


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Return the PSNR in dB of code values."""
    return 10 * math.log10(255**2 / max(float(np.mean((a.astype(np.float64) - b) ** 2)), 1e-9))


def row(samples: list[Sample], way: str, passes: Callable[[Sample], Marks], halo: int) -> str:
    """Return the cells of a test and a cheap way over all samples."""
    shares, left, lost, worst = [], [], [], 0.0
    for sample in samples:
        passed, cheap = passes(sample), sample.cheap[way]
        taken = np.kron(passed, np.ones((SIDE * SCALE, SIDE * SCALE), np.bool_))[..., None]
        mixed = np.where(taken, cheap, sample.full)
        shares.append(float(passed.mean()))
        left.append(work_left(passed, halo))
        lost.append(psnr(sample.full, sample.truth) - psnr(mixed, sample.truth))
        worst = max(worst, float(np.abs(mixed - sample.full).max()))
    return f"{np.mean(shares):.0%} | {np.mean(left):.0%} | {np.mean(lost):.2f} ({max(lost):.2f}) | {worst:.0f}"


def known(samples: list[Sample], way: str, colour_known: bool, halo: int) -> str:
    """Return the cells of the row that knows the answer; its loss and difference are within the bound by its choice."""
    found = [differences(s, s.cheap[way], colour_known) <= BOUND for s in samples]
    left = np.mean([work_left(passed, halo) for passed in found])
    return f"{np.mean([p.mean() for p in found]):.0%} | {left:.0%} | - | {BOUND}"


def easy_squares(model: str, material: str, samples: list[Sample], halo: int) -> Iterator[str]:
    """Yield the rows of one model and material."""
    begin = f"| {model} | {material}"
    for way in samples[0].cheap:
        for limit in RANGES:
            yield f"{begin} | {way} | range up to {limit} | {row(samples, way, _flat(limit), halo)} |"
        if way == "realesr-animevideov3":
            for step in STEPS:
                yield f"{begin} | {way} | mean step from {step} | {row(samples, way, _sharp(step), halo)} |"
        yield f"{begin} | {way} | the answer known | {known(samples, way, False, halo)} |"
        yield f"{begin} | {way} | answer and colour known | {known(samples, way, True, halo)} |"


def _flat(limit: int) -> Callable[[Sample], Marks]:
    return lambda sample: flatness(sample.rgb) <= limit


def _sharp(step: int) -> Callable[[Sample], Marks]:
    return lambda sample: sharpness(sample.rgb) >= step


def coded(frames: list[Pixels], crf: int, folder: Path) -> list[Pixels]:
    """Return `frames` as x264 gives them back."""
    path = folder / f"held-{crf}.mp4"
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=24, options={"crf": str(crf), "preset": "medium"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(video.encode(None))
    with av.open(str(path)) as source:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in source.decode(video=0)]


def held_frames(model: str, network: Enhancer, kind: str, crf: int, folder: Path) -> Iterator[str]:
    """Yield rows about squares of the second of two held frames that are taken from the first one's result."""
    clean = [reduced(frame) for frame in film(kind, 2)]
    rng = np.random.default_rng(5)
    clean = [np.clip(f + rng.normal(0, 3, f.shape), 0, 255).astype(np.uint8) for f in clean]  # film has grain
    frames = coded([frame for frame in clean for _ in range(2)], crf, folder)
    made = [enlarged(network, frame) for frame in frames]
    for limit in HELD:
        halo = REACHES.get(model, network.halo) if limit else network.halo
        shares, left, worst, kept = [], [], 0.0, []
        for n in range(1, len(frames), 2):
            step = np.abs(frames[n].astype(np.int64) - frames[n - 1]).max(-1).astype(np.uint8)
            step = cv2.dilate(step, np.ones((2 * halo + 1, 2 * halo + 1), np.uint8))[..., None]
            passed = np.asarray(squares(step, SIDE).max((2, 3)) <= limit)
            taken = np.kron(passed, np.ones((SIDE * SCALE, SIDE * SCALE), np.bool_))[..., None]
            mixed = np.where(taken, made[n - 1], made[n])
            shares.append(float(passed.mean()))
            left.append(work_left(passed, halo))
            worst = max(worst, float(np.abs(mixed - made[n]).max()))
            kept.append(psnr(mixed, made[n]))
        what = f"differ by up to {limit}" if limit else "equal"
        least = f"{min(kept):.1f}" if worst else "exact"
        yield f"| {model} | {kind}, CRF {crf} | {what} | {np.mean(shares):.0%} | {np.mean(left):.0%} | {least} | {worst:.0f} |"


def main() -> None:
    """Print both tables for all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["realesr-animevideov3", "RealESRGAN_x4plus"])
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS), help="only the first so many")
    parser.add_argument("--only", choices=["squares", "held"], help="one of the tables")
    arguments = parser.parse_args()
    networks = {model: loaded(model) for model in arguments.models}
    if arguments.only != "held":
        table_of_squares(networks, arguments.photographs)
    if arguments.only != "squares":
        table_of_held_frames(networks)


def table_of_squares(networks: dict[str, Enhancer], count: int) -> None:
    """Print what easy squares would save and lose, with at most `count` photographs."""
    smaller = loaded("realesr-animevideov3")
    print(
        "| model | material | cheap way | squares that take it | share | work left | PSNR lost, mean (worst picture), dB | largest difference |"
    )
    print("| --- " * 8 + "|")
    for model, network in networks.items():
        second = None if model == smaller.name else smaller
        pictures = list(itertools.islice(photographs(), count))
        for material, clean in (
            (f"{len(pictures)} photographs", pictures),
            ("natural film", film("natural film", 3)),
            ("drawn film", film("drawn film", 3)),
        ):
            samples = [sample(network, second, picture) for picture in clean]
            for line in easy_squares(model, material, samples, REACHES.get(model, network.halo)):
                print(line, flush=True)


def table_of_held_frames(networks: dict[str, Enhancer]) -> None:
    """Print what squares of held pictures could be reused."""
    print(
        "\n| model | film of held pictures | squares that are reused | share | work left | least PSNR, dB | largest difference |"
    )
    print("| --- " * 7 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for (model, network), kind, crf in itertools.product(
            networks.items(), ("natural film", "drawn film"), (18, 23)
        ):
            for line in held_frames(model, network, kind, crf, Path(folder)):
                print(line, flush=True)


def loaded(model: str) -> Enhancer:
    """Load a generator in fp32, the network that the others are held against."""
    found = enhancer(model, Settings(), precision="fp32")[1]
    assert isinstance(found, Enhancer)
    return found


def sample(network: Enhancer, smaller: Enhancer | None, clean: Pixels) -> Sample:
    """Compute a picture in full and in all cheap ways."""
    rgb = reduced(clean)
    return Sample(rgb, clean, enlarged(network, rgb), cheap_ways(rgb, smaller))


if __name__ == "__main__":
    main()
