"""Grain whose level and spectrum are known, after enhancement: `python -m benchmarks.fidelity.film_grain` prints the table of docs/film-time.md.

Clean clips get grain, and are enlarged by each generator as they are and with `--grain 1`. The grain of a result is what differs in
luma from the result of the clean clip. Its power is summed over bands of frequencies in cycles per picture height, so that the sizes do not matter.
"""

from __future__ import annotations

import argparse
import sys
import time

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.fidelity.steadiness import loaded
from testkit.film_damage import CLIPS, Amounts, damage, pan
from testkit.filtered import COLOUR, Pixels, frames
from workers.film import colour
from workers.film.frame_marks import Clock
from workers.film.grain import GrainKeeper
from workers.film.picture import Picture
from workers.generators.enhancer import Enhancer

Field = npt.NDArray[np.float32]

COUNT = 7
LOOKED = range(2, 5)
"""Frames whose neighbours are all there."""
FORMAT = "yuv420p"
BANDS = 5
"""Bands of equal width up to the source's Nyquist frequency; corners count with the last."""
LEAST = 0.01
"""Part of the grain's power below which a band is not compared."""
GRAINS = {
    "white, 4": Amounts(grain=4.0),
    "white, 8": Amounts(grain=8.0),
    "1 pixel, 4": Amounts(grain=4.0, grain_size=1.0),
    "1 pixel, 8": Amounts(grain=8.0, grain_size=1.0),
}
"""Grain by size and standard deviation in code values."""


def main() -> int:
    """Print a row for each generator, clip and grain, and the time that a frame takes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.film_grain", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--models", nargs="*", default=["lanczos", "realesr-animevideov3"])
    parser.add_argument("--clips", nargs="*", default=["still", "pan", "pan, crossed"], choices=list(CLIPS))
    parser.add_argument("--size", type=int, nargs=2, default=(160, 120), metavar=("WIDTH", "HEIGHT"))
    asked = parser.parse_args()
    size = asked.size[1], asked.size[0]
    print("| generator | clip | grain | level as it is (in bands) | level with `--grain 1` (in bands) |")
    print("| --- | --- | --- | --- | --- |")
    for model in asked.models:
        enhancer = loaded(model)
        for clip in asked.clips:
            clean = CLIPS[clip](COUNT, *size)
            truth = _enlarged(enhancer, clean)
            for name, amounts in GRAINS.items():
                grainy = damage(clean, amounts, seed=3).damaged
                given = _powers(_lumas(grainy), _lumas(clean), size)
                plain, kept = (_powers(_enlarged(enhancer, grainy, share), truth, size) for share in (0.0, 1.0))
                cells = []
                for power in (plain, kept):
                    bands = np.sqrt(power[:BANDS] / given[:BANDS])[given[:BANDS] >= LEAST * given.sum()]
                    cells.append(f"{np.sqrt(power.sum() / given.sum()):.2f} ({bands.min():.2f} to {bands.max():.2f})")
                print(f"| {model} | {clip} | {name} | {' | '.join(cells)} |", flush=True)
    print(f"a moving frame of 640x480, enlarged four times: {_cost() * 1000:.0f} ms of one processor's time")
    return 0


def _lumas(pictures: list[Pixels]) -> list[Field]:
    return [Picture(frame).luma() for n, frame in frames(pictures, FORMAT) if n in LOOKED]


def _enlarged(enhancer: Enhancer, pictures: list[Pixels], share: float = 0.0) -> list[Field]:
    """Return the lumas of enhanced frames, with a share of their grain."""
    keeper = GrainKeeper(share, COLOUR, Clock())
    made = frames(pictures, FORMAT)
    lumas = []
    for n, frame in keeper.filtered(made) if share else made:
        if n in LOOKED:
            rgb = enhancer.frames(colour.to_rgb(frame, COLOUR), (4 * frame.height, 4 * frame.width))
            larger = colour.from_rgb(rgb, FORMAT, COLOUR)
            lumas.append(Picture(keeper.put_back(n, larger)).luma())
    return lumas


def _powers(grainy: list[Field], clean: list[Field], source: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the mean power of grain in each band, and above the Nyquist frequency of a `source` of this height and width."""
    height, width = grainy[0].shape
    down, right = np.abs(np.fft.fftfreq(height) * height), np.abs(np.fft.fftfreq(width) * width)
    lines, columns = source
    radius = np.hypot((down / lines)[:, None], (right / columns)[None, :])
    inside = (down <= lines / 2)[:, None] & (right <= columns / 2)[None, :]
    band = np.where(inside, np.minimum((radius * 2 * BANDS).astype(int), BANDS - 1), BANDS)
    power = np.mean([np.abs(np.fft.fft2(g - c) / g.size) ** 2 for g, c in zip(grainy, clean, strict=True)], axis=0)
    return np.asarray(np.bincount(band.ravel(), power.ravel(), BANDS + 1), dtype=np.float64)


def _cost() -> float:
    """Return the processor seconds that a moving frame takes, before and after the network."""
    cv2.setNumThreads(1)
    source = list(frames(damage(pan(8, 480, 640), Amounts(grain=6.0), seed=2).damaged, FORMAT))
    larger = [frame.reformat(width=2560, height=1920) for _, frame in source]
    keeper = GrainKeeper(1.0, COLOUR, Clock())
    began = time.process_time()
    for n, _ in keeper.filtered(iter(source)):
        keeper.put_back(n, larger[n])
    return (time.process_time() - began) / len(source)


if __name__ == "__main__":
    sys.exit(main())
