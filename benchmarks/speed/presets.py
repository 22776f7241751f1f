"""Encoders' presets on enhanced frames: processor time, size and error at the CRF of a job: ``python -m benchmarks.speed.presets``.

Two films, as animevideov3 makes them (2560x1920 of 640x480): one clean, one with grain put back at the new size. The encoder has
the options of a job; the time is the process' own, so other work on the machine matters little. `orchestrator.balance.encoder_cost`
has the figures of a run.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
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
from contract.job import Codec, Spec
from contract.settings import Settings
from media.codecs import ENCODERS, encoder_options, open_encoder
from testkit.natural_clips import make_moving

PRESETS: dict[Codec, tuple[str | None, ...]] = {
    "x264": ("ultrafast", "superfast", "quick", "veryfast", "faster", "fast", "medium", "slow", "slower"),
    "x265": (None, "ultrafast", "veryfast", "fast"),
    "svtav1": (None, "10", "6"),
    "vp9": (None, "8"),
    "ffv1": (None,),
    "prores": (None,),
}
"""None is what a job has that asks for no preset."""
_GRAIN = 5.0
"""Deviation of the grain in code values, blurred by 1.5 pixels: that of a scan at this size."""

Luma = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cost:
    """The time and size of a frame with one preset, and the PSNR in dB (luma) of the film."""

    cpu_s: float
    kilobytes: float
    psnr: float


def enhanced(count: int, size: tuple[int, int], source: Path | None = None) -> list[npt.NDArray[np.uint8]]:
    """Return `count` frames, at most `size` (width, height) of their middle, enlarged four times by animevideov3: H x W x 3.

    They are those of the film `source`, or of a moving photograph.
    """
    _, loaded = enhancer("realesr-animevideov3", Settings())
    network: Any = loaded
    frames = []
    with (
        tempfile.TemporaryDirectory() as folder,
        av.open(str(source or make_moving(Path(folder) / "film.mp4", count, size))) as film,
    ):
        for frame in itertools.islice(film.decode(video=0), count):
            pixels = middle(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), size)
            rgb = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous()
            larger = network._network(rgb)[0].clamp(0, 1).mul(255).round().byte()
            frames.append(np.ascontiguousarray(larger.permute(1, 2, 0).numpy()))
    return frames


def middle(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the middle of a picture, at most `size` (width, height) of it."""
    (height, width), (wide, high) = pixels.shape[:2], size
    top, left = max(0, height - high) // 2, max(0, width - wide) // 2
    return np.ascontiguousarray(pixels[top : top + high, left : left + wide])


def grainy(frames: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """Return the frames with grain of their own each."""
    random, made = np.random.default_rng(3), []
    for frame in frames:
        grain = cv2.GaussianBlur(random.normal(0, 1, frame.shape[:2]).astype(np.float32), (0, 0), 1.5)
        made.append(np.clip(frame + (grain * (_GRAIN / grain.std()))[..., None] + 0.5, 0, 255).astype(np.uint8))
    return made


def cost(frames: list[npt.NDArray[np.uint8]], codec: Codec, preset: str | None, pix_fmt: str) -> Cost:
    """Encode the frames as a job would, decode them, and compare."""
    pictures = [av.VideoFrame.from_ndarray(f, format="rgb24").reformat(format=pix_fmt) for f in frames]
    height, width = frames[0].shape[:2]
    context: Any = av.codec.CodecContext.create(ENCODERS[codec].name, "w")
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    spec = Spec(model="realesr-animevideov3", codec=codec, preset=preset)
    context.options = encoder_options(codec, spec, pix_fmt, pixels=width * height)
    began, packets = time.process_time(), []
    open_encoder(context)
    for number, picture in enumerate(pictures):
        picture.pts = number
        packets += context.encode(picture)
    packets += context.encode(None)
    spent = time.process_time() - began
    # FFmpeg's own decoder of AV1 needs a card.
    name = "libdav1d" if codec == "svtav1" else context.codec.canonical_name
    decoder: Any = av.codec.CodecContext.create(name, "r")
    decoder.extradata = context.extradata
    decoder.width, decoder.height, decoder.pix_fmt = width, height, pix_fmt
    seen = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    error = np.mean([np.square(_luma(a) - _luma(b)).mean() for a, b in zip(seen, pictures, strict=True)])
    size = sum(packet.size for packet in packets) / 1000
    # Lossless where nothing differs: FFV1.
    psnr = 10 * math.log10(255**2 / float(error)) if error else math.inf
    return Cost(spent / len(frames), size / len(frames), psnr)


def _luma(frame: Any) -> Luma:
    """Return the luma of a frame in code values of 8 bits."""
    plane, depth = frame.planes[0], frame.format.components[0].bits
    kind = np.uint8 if depth == 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(frame.height, plane.line_size // kind().itemsize)
    return rows[:, : frame.width].astype(np.float32) / np.float32(2 ** (depth - 8))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", default="640x480", metavar="WxH", help="of the source (default: 640x480)")
    parser.add_argument("--film", type=Path, help="take its first frames instead of a moving photograph")
    parser.add_argument("--codecs", nargs="+", choices=list(ENCODERS), default=["x264"])
    parser.add_argument("--presets", nargs="+", help="of these codecs (default: a list for each)")
    parser.add_argument("--pix-fmt", help="of the result (default: 8 bits in 4:2:0, 10 in 4:2:2 for prores)")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    clean = enhanced(options.frames, (width, height), options.film)
    height, width = clean[0].shape[:2]
    print(f"{width}x{height}, {len(clean)} frames, load {os.getloadavg()[0]:.1f}")
    print("| codec | film | preset | CPU s a frame | kB a frame | PSNR, luma |\n| --- | --- | --- | --- | --- | --- |")
    films = (("clean", clean), ("with grain", grainy(clean)))
    for codec in options.codecs:
        for name, frames in films:
            for preset in options.presets or PRESETS.get(codec, (None,)):
                pix_fmt = options.pix_fmt or ("yuv422p10le" if codec == "prores" else "yuv420p")
                found = cost(frames, codec, preset, pix_fmt)
                figures = f"{found.cpu_s:.3f} | {found.kilobytes:.0f} | {found.psnr:.2f} dB"
                print(f"| {codec} | {name} | {preset or 'none asked'} | {figures} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
