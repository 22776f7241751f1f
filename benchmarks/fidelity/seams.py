"""The cost of encoding a film chunk by chunk with one CRF: quality at the seams and size, beside one encode of the whole.

`python -m benchmarks.fidelity.seams` encodes moving and still pictures with the options that workers use. PSNR is of luma against what was
encoded, over frames by their distance from the next seam; "step" is the mean absolute difference of the PSNR of neighbouring frames.
"""

from __future__ import annotations

import argparse
import io
import sys
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from contract.job import Spec
from media import codecs
from testkit.natural_clips import photograph

Frames = list[npt.NDArray[Any]]
NEAR = 3
"""Frames on each side of a seam that count as near it."""


def pictures(count: int, width: int, height: int, step: int) -> Frames:
    """Return `count` pictures over which the camera drifts by `step` pixels a frame, with a little seeded grain; RGB."""
    rng = np.random.default_rng(1)
    wide = photograph(height + count * step, width + 2 * count * step)
    found = []
    for n in range(count):
        shown = wide[n * step : n * step + height, 2 * n * step : 2 * n * step + width].astype(np.int16)
        found.append(np.clip(shown + rng.normal(0, 2, shown.shape), 0, 255).astype(np.uint8))
    return found


def encoded(frames: Frames, spec: Spec) -> bytes:
    """Encode frames as one stream with the worker's options."""
    height, width, _ = frames[0].shape
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        options = codecs.encoder_options("x264", spec, "yuv420p", pixels=width * height)
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def luma(data: bytes) -> Frames:
    """Decode the luma of every frame."""
    with av.open(io.BytesIO(data), "r") as container:
        return [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]


def psnr(found: Frames, wanted: Frames) -> npt.NDArray[np.float64]:
    """Return the PSNR of each frame in dB."""
    errors = [np.square(a.astype(np.float64) - b).mean() for a, b in zip(found, wanted, strict=True)]
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-9))


def main() -> int:
    """Print one row for each material and chunk length."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.seams", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--frames", type=int, default=192)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 240))
    parser.add_argument("--chunks", type=int, nargs="*", default=[24, 48, 96])
    options = parser.parse_args()
    spec = Spec(model="identity", codec="x264")
    print("| material | chunk | size | near seams dB | elsewhere dB | step at seams dB | step elsewhere dB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, step in (("still with grain", 0), ("slow drift", 1), ("fast drift", 4)):
        frames = pictures(options.frames, options.size[0], options.size[1], step)
        wanted = [
            av.VideoFrame.from_ndarray(f, format="rgb24").reformat(format="yuv420p").to_ndarray()[: f.shape[0]]
            for f in frames
        ]
        whole = encoded(frames, spec)
        base = psnr(luma(whole), wanted)
        _row(name, "whole", 1.0, base, list(range(48, options.frames, 48)))
        for length in options.chunks:
            parts = [encoded(frames[n : n + length], spec) for n in range(0, options.frames, length)]
            found = psnr([frame for part in parts for frame in luma(part)], wanted)
            ratio = sum(map(len, parts)) / len(whole)
            _row(name, str(length), ratio, found, list(range(length, options.frames, length)))
    return 0


def _row(name: str, chunk: str, ratio: float, found: npt.NDArray[np.float64], seams: list[int]) -> None:
    frames = np.arange(len(found))
    near = np.any([(frames >= s - NEAR) & (frames < s + NEAR) for s in seams], axis=0)
    steps = np.abs(np.diff(found))
    at = np.isin(np.arange(1, len(found)), seams)
    cells = [
        f"{ratio:.3f}",
        *(f"{x:.2f}" for x in (found[near].mean(), found[~near].mean(), steps[at].mean(), steps[~at].mean())),
    ]
    print(f"| {name} | {chunk} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
