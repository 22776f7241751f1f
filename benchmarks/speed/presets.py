"""x264's presets on enhanced frames: processor time, size and error at an equal CRF: ``python -m benchmarks.speed.presets``.

Two films of 2560x1920, as animevideov3 makes them of 640x480: one clean, one with grain put back at the new size. The encoder has
the options of a job; the time is the process' own, so other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.speed.models import enhancer
from contract.job import Spec
from contract.settings import Settings
from media.codecs import encoder_options
from testkit.natural_clips import make_moving

PRESETS = (None, "medium", "fast", "faster", "veryfast", "superfast")
"""None is what a job has that asks for no preset."""
_GRAIN = 5.0
"""Deviation of the grain in code values, blurred by 1.5 pixels: that of a scan at this size."""

Luma = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cost:
    """The time and size of a frame with one preset, and the PSNR in dB (luma) of the film."""

    cpu_s: float
    kilobytes: float
    psnr: float


def enhanced(count: int) -> list[npt.NDArray[np.uint8]]:
    """Return `count` frames of a moving photograph, enlarged four times by animevideov3: H x W x 3."""
    _, loaded = enhancer("realesr-animevideov3", Settings())
    network: Any = loaded
    frames = []
    with (
        tempfile.TemporaryDirectory() as folder,
        av.open(str(make_moving(Path(folder) / "film.mp4", count, (640, 480)))) as film,
    ):
        for frame in film.decode(video=0):
            rgb = (
                torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)[None].float().div(255).contiguous()
            )
            larger = network._network(rgb)[0].clamp(0, 1).mul(255).round().byte()
            frames.append(np.ascontiguousarray(larger.permute(1, 2, 0).numpy()))
    return frames


def grainy(frames: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """Return the frames with grain of their own each."""
    random, made = np.random.default_rng(3), []
    for frame in frames:
        grain = cv2.GaussianBlur(random.normal(0, 1, frame.shape[:2]).astype(np.float32), (0, 0), 1.5)
        made.append(np.clip(frame + (grain * (_GRAIN / grain.std()))[..., None] + 0.5, 0, 255).astype(np.uint8))
    return made


def cost(frames: list[npt.NDArray[np.uint8]], preset: str | None) -> Cost:
    """Encode the frames as a job would, decode them, and compare."""
    pictures = [av.VideoFrame.from_ndarray(f, format="rgb24").reformat(format="yuv420p") for f in frames]
    height, width = frames[0].shape[:2]
    context: Any = av.codec.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = encoder_options(
        "x264", Spec(model="realesr-animevideov3", preset=preset), "yuv420p", pixels=width * height
    )
    began, packets = time.process_time(), []
    for number, picture in enumerate(pictures):
        picture.pts = number
        packets += context.encode(picture)
    packets += context.encode(None)
    spent = time.process_time() - began
    decoder: Any = av.codec.CodecContext.create("h264", "r")
    decoder.extradata = context.extradata
    seen = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    error = np.mean(
        [np.square(_luma(a).astype(np.float32) - _luma(b)).mean() for a, b in zip(seen, pictures, strict=True)]
    )
    size = sum(packet.size for packet in packets) / 1000
    return Cost(spent / len(frames), size / len(frames), 10 * math.log10(255**2 / float(error)))


def _luma(frame: Any) -> Luma:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)[:, : frame.width]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    clean = enhanced(options.frames)
    print("| film | preset | CPU s a frame | kB a frame | PSNR, luma |\n| --- | --- | --- | --- | --- |")
    for name, frames in (("clean", clean), ("with grain", grainy(clean))):
        for preset in PRESETS:
            found = cost(frames, preset)
            shown = preset or "none asked"
            print(f"| {name} | {shown} | {found.cpu_s:.3f} | {found.kilobytes:.0f} | {found.psnr:.2f} dB |", flush=True)


if __name__ == "__main__":
    main()
