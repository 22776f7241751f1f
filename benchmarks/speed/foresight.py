"""Expected time and time left, held against the truth: `python -m benchmarks.speed.foresight [--kinds N] [--times N]`.

On an embedded cluster of one worker, a small job of each kind is run, then a larger one of other pictures through `respool run --json`.
The table has what the command said before the work, the seconds that it took from then to its end, and by how much the time left was
off when a tenth, three, six and nine tenths of the frames were done, in hundredths of the whole.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from PIL import Image

from contract.settings import Settings
from orchestrator.local import start
from testkit.command_line import popen
from testkit.natural_clips import make_moving, photograph

AT = (0.1, 0.3, 0.6, 0.9)


@dataclass(frozen=True)
class Kind:
    """A kind of job: its generator, the size of its pictures, and how many the small and the large job have."""

    model: str
    film: bool
    size: tuple[int, int]
    few: int
    many: int


KINDS = (
    Kind("realesr-animevideov3", True, (320, 240), 24, 120),
    Kind("RealESRGAN_x4plus_anime_6B", True, (160, 120), 10, 50),
    Kind("RealESRGAN_x4plus", True, (96, 72), 8, 40),
    Kind("realesr-animevideov3", False, (320, 240), 10, 60),
    Kind("RealESRGAN_x4plus_anime_6B", False, (160, 120), 8, 40),
    Kind("RealESRGAN_x4plus", False, (96, 72), 6, 30),
)


@dataclass(frozen=True)
class Told:
    """Words of a run on its time, the seconds that it took, and the error of the time left at each of `AT`."""

    expected: str
    seconds: float
    errors: tuple[float | None, ...]


def main() -> None:
    """Run all kinds and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.foresight", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--kinds", type=int, default=len(KINDS), help="only the first so many")
    parser.add_argument("--times", type=int, default=1, help="as many pictures in the larger jobs")
    options = parser.parse_args()
    print(
        "| job | said before, s | took, s | error of the middle | time left off at 10, 30, 60, 90% |\n| --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory(prefix="rs-") as name:
        folder = Path(name)
        with start(replace(Settings(), state=folder / "state"), workers=1):
            for n, kind in enumerate(KINDS[: options.kinds]):
                many = options.times * kind.many
                run(kind, kind.few, folder / f"few{n}", folder / "state")
                told = run(kind, many, folder / f"many{n}", folder / "state")
                low, high = expected(told.expected)
                off = ((low + high) / 2 - told.seconds) / told.seconds
                left = ", ".join("-" if error is None else f"{error:+.0%}" for error in told.errors)
                what = f"{many} {'frames' if kind.film else 'photographs'} of {kind.size[0]}x{kind.size[1]}"
                print(
                    f"| {kind.model}, {what} | {low:.0f} to {high:.0f} | {told.seconds:.0f} | {off:+.0%} | {left} |",
                    flush=True,
                )
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def run(kind: Kind, count: int, folder: Path, state: Path) -> Told:
    """Make the sources of a job of `count` pictures, run it and return what it told."""
    folder.mkdir()
    source = make_moving(folder / "film.mp4", count, kind.size) if kind.film else pictures(folder / "in", count, kind)
    out = folder / ("out.mkv" if kind.film else "out")
    said, seen, began = "", list[tuple[float, float, float | None]](), 0.0
    with popen(
        "run", source, "-o", out, "--json", "-m", kind.model, "-s", "4", "--chunk-frames", "12", "--state", state
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = msgspec.json.decode(line)
            now = time.monotonic()
            if event["event"] == "say" and event["text"].startswith("time:"):
                said, began = event["text"], now
            elif event["event"] == "job" and event["frames"]["total"]:
                seen.append((now, event["frames"]["done"] / event["frames"]["total"], event["eta_s"]))
        assert process.stderr is not None
        failed = process.stderr.read()
        assert process.wait() == 0, failed
    ended = time.monotonic()
    errors = []
    for part in AT:
        at = next(((when, left) for when, done, left in seen if done >= part and left is not None), None)
        errors.append(None if at is None else (at[1] - (ended - at[0])) / (ended - began))
    return Told(said, ended - began, tuple(errors))


def pictures(folder: Path, count: int, kind: Kind) -> Path:
    """Write different photographs as PNG files; return their folder."""
    folder.mkdir()
    width, height = kind.size
    whole = photograph(height + count, width + count)
    for n in range(count):
        Image.fromarray(whole[n : n + height, n : n + width]).save(folder / f"{n:03}.png")
    return folder


def expected(sentence: str) -> tuple[float, float]:
    """Return the least and the most seconds that a sentence on the expected time names."""
    found = [
        sum(int(part) * 60**place for place, part in enumerate(reversed(clock.split(":"))))
        for clock in re.findall(r"\d+(?::\d\d)+", sentence)
    ]
    assert found, sentence
    return float(found[0]), float(found[-1])


if __name__ == "__main__":
    main()
