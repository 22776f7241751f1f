"""Flicker, weave, scratches and dirt whose truth is known: `python -m benchmarks.fidelity.film_repairs` prints the tables of docs/film-time.md.

Clean clips are damaged by draws that are known (`testkit/film_damage.py`), repaired, and compared with the clean ones. Clips that tempt a
repair go through it clean: what it changes by more than two code values is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from testkit.film_damage import CLIPS, FAST, Amounts, Clip, damage, pan
from testkit.filtered import COLOUR, Pixels, filtered, unfiltered
from training.degrade.frame_draw import cover
from workers.film.deflicker import Deflicker
from workers.film.dirt import DirtFiller
from workers.film.frame_marks import Clock
from workers.film.scratches import ScratchFiller
from workers.film.stabilise import Stabiliser
from workers.film.time_filters import FrameFilter

FRAMES = 60
SIZE = 240, 320
"""Height and width."""
FORMAT = "yuv420p"
WRONG = 2
"""Code values by which a pixel of a clean clip may change."""
VISIBLE = 20
"""Code values by which a speck must change a pixel to count: white dust on white is none."""
Places = Sequence[tuple[float, ...]]
Scores = list[tuple[str, str]]
"""Heading and value of each column."""


def main() -> int:
    """Print a table of damaged clips and one of clean clips for each repair, and the time that it takes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.film_repairs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repairs", nargs="*", default=list(REPAIRS), choices=list(REPAIRS))
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each clip")
    given = parser.parse_args()
    for name in given.repairs:
        make, amounts, score = REPAIRS[name]
        print(f"\n{name}: {_words(amounts)}\n")
        for number, clip in enumerate(("still", "pan", "pan, crossed")):
            made = damage(CLIPS[clip](given.frames, *SIZE), amounts, seed=11)
            cells = [("clip", clip), *score(made, filtered(make(), made.damaged, FORMAT))]
            _rows(cells, number)
        print()
        for number, (clip, frames) in enumerate((CLIPS | (FAST if name == "dirt" else {})).items()):
            _rows([("clean clip", clip), ("changed wrongly", _wrong(make(), frames(given.frames, *SIZE)))], number)
        print(f"\n{name}, a moving frame of 640x480: {_cost(make) * 1000:.0f} ms of one processor's time", flush=True)
    return 0


def _rows(cells: Scores, number: int) -> None:
    if not number:
        print(f"| {' | '.join(heading for heading, _ in cells)} |")
        print(f"| {' | '.join('---' for _ in cells)} |")
    print(f"| {' | '.join(value for _, value in cells)} |", flush=True)


def _words(amounts: Amounts) -> str:
    given = {name: getattr(amounts, name) for name in Amounts.__dataclass_fields__}
    default = Amounts()
    return ", ".join(f"{name} {value}" for name, value in given.items() if value != getattr(default, name))


def _wrong(one: FrameFilter, clean: list[Pixels]) -> str:
    made, base = filtered(one, clean, FORMAT), unfiltered(clean, FORMAT)
    off = [(np.abs(m.astype(int) - b).max(-1) > WRONG).mean() for m, b in zip(made, base, strict=True)]
    return f"{100 * float(np.mean(off)):.3f} %"


def _psnr(pictures: list[Pixels], truth: list[Pixels]) -> float:
    apart = np.mean([np.square(p.astype(np.float32) - t).mean() for p, t in zip(pictures, truth, strict=True)])
    return float(10 * np.log10(255**2 / apart))


def _steps(values: Places) -> float:
    """Return the root mean square of the change from frame to frame."""
    return float(np.sqrt(np.mean([np.square(np.subtract(b, a)).sum() for a, b in pairwise(values)])))


def _spread(values: Places) -> float:
    """Return the root mean square distance from the mean."""
    return float(np.sqrt(np.square(np.subtract(values, np.mean(values, 0))).sum(-1).mean()))


def _before_after(name: str, before: float, after: float, digits: int = 2) -> Scores:
    return [(name, f"{before:.{digits}f} -> {after:.{digits}f} ({100 * (after / before - 1):+.0f} %)")]


def _flicker(clip: Clip, made: list[Pixels]) -> Scores:
    truth, base = unfiltered(clip.clean, FORMAT), unfiltered(clip.damaged, FORMAT)
    before, after = ([(float(p.mean() - t.mean()),) for p, t in zip(film, truth, strict=True)] for film in (base, made))
    return [
        *_before_after("change of the mean level from frame to frame", _steps(before), _steps(after)),
        *_before_after("its deviation", _spread(before), _spread(after)),
        ("PSNR, dB", f"{_psnr(base, truth):.2f} -> {_psnr(made, truth):.2f}"),
    ]


def _uneven(clip: Clip, made: list[Pixels]) -> Scores:
    truth, base = unfiltered(clip.clean, FORMAT), unfiltered(clip.damaged, FORMAT)
    before, after = ([_parts(p, t) for p, t in zip(film, truth, strict=True)] for film in (base, made))
    return [
        *_before_after("change of parts' levels from frame to frame", _steps(before), _steps(after)),
        *_before_after("their deviation", _spread(before), _spread(after)),
        ("PSNR, dB", f"{_psnr(base, truth):.2f} -> {_psnr(made, truth):.2f}"),
    ]


def _parts(picture: Pixels, clean: Pixels) -> tuple[float, ...]:
    """Return by how much 8 x 6 parts are brighter than in the clean picture, beside the whole of it."""
    off = picture.mean(-1).astype(np.float32) - clean.mean(-1).astype(np.float32)
    parts = cv2.resize(off, (8, 6), interpolation=cv2.INTER_AREA).ravel()
    return tuple(float(part) for part in (parts - parts.mean()) / parts.size**0.5)


def _weave(clip: Clip, made: list[Pixels]) -> Scores:
    truth, base = unfiltered(clip.clean, FORMAT), unfiltered(clip.damaged, FORMAT)
    before, after = (_places(film, truth) for film in (base, made))
    return [
        *_before_after("change of the shift from frame to frame, pixels", _steps(before), _steps(after)),
        *_before_after("its deviation", _spread(before), _spread(after)),
        ("PSNR inside, dB", " -> ".join(f"{_psnr(_inner(film), _inner(truth)):.2f}" for film in (base, made))),
    ]


def _places(pictures: list[Pixels], truth: list[Pixels]) -> Places:
    """Return each picture's shift from the clean one, by an enhanced correlation (ECC), which no repair here uses."""
    found = []
    for picture, clean in zip(pictures, truth, strict=True):
        one, other = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[8:-8, 8:-8] for p in (clean, picture))
        rule = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5
        start = np.eye(2, 3, dtype=np.float32)
        _, found_matrix = cv2.findTransformECC(one, other, start, cv2.MOTION_TRANSLATION, rule)
        matrix = np.asarray(found_matrix)
        found.append((float(matrix[0, 2]), float(matrix[1, 2])))
    return found


def _inner(pictures: list[Pixels]) -> list[Pixels]:
    return [picture[8:-8, 8:-8] for picture in pictures]


def _scratches(clip: Clip, made: list[Pixels]) -> Scores:
    """Return recall and the columns filled without need; and PSNR in the columns of scratches, and in all others."""
    truth, base = unfiltered(clip.clean, FORMAT), unfiltered(clip.damaged, FORMAT)
    found: list[bool] = []
    changed, inside = 0, ([], [], [])  # type: tuple[int, tuple[list[Pixels], list[Pixels], list[Pixels]]]
    for before, after, clean, draw in zip(base, made, truth, clip.draws, strict=True):
        columns = np.flatnonzero((before != after).mean(axis=(0, 2)) > 0.1)
        true = np.array([scratch.column for scratch in draw.scratches])
        near = np.abs(columns[:, None] - true[None]) if len(columns) else np.full((1, 1), np.inf)
        found.extend(near.min(axis=0) <= 1 if len(columns) else [False] * len(true))
        changed += int((near.min(axis=1) > 4).sum()) if len(columns) else 0
        lines = np.unique(np.clip(np.rint(true)[:, None] + np.arange(-1, 2), 0, SIZE[1] - 1)).astype(int)
        for kept, picture in zip(inside, (before, after, clean), strict=True):
            kept.append(picture[:, lines])
    return [
        ("recall", f"{np.mean(found):.2f}"),
        ("other columns changed", f"{100 * changed / len(made) / SIZE[1]:.2f} %"),
        ("PSNR in scratches, dB", f"{_psnr(inside[0], inside[2]):.2f} -> {_psnr(inside[1], inside[2]):.2f}"),
        ("PSNR, dB", f"{_psnr(base, truth):.2f} -> {_psnr(made, truth):.2f}"),
    ]


def _dirt(clip: Clip, made: list[Pixels]) -> Scores:
    """Return the part of visible specks that is filled, and pixels changed beside all; and PSNR in specks, and beside them to the dirty film."""
    truth, base = unfiltered(clip.clean, FORMAT), unfiltered(clip.damaged, FORMAT)
    found: list[bool] = []
    wrong, inside, outside = [], ([], [], []), ([], [])  # type: tuple[list[float], tuple[list[Pixels], list[Pixels], list[Pixels]], tuple[list[Pixels], list[Pixels]]]
    for before, after, clean, draw in list(zip(base, made, truth, clip.draws, strict=True))[2:-2]:
        changed = np.abs(after.astype(int) - before).max(-1) > WRONG
        every = np.zeros(SIZE, bool)
        for speck in draw.specks:
            covered = cover(speck, SIZE)
            every |= covered > 0
            seen = (covered > 0.5) & (np.abs(before.astype(int) - clean).mean(-1) > VISIBLE)
            if seen.sum() >= 3:
                found.append(bool(changed[seen].mean() > 0.5))
        beside = cv2.dilate(every.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
        wrong.append(float((changed & beside).mean()))
        for kept, picture in zip(inside, (before, after, clean), strict=True):
            kept.append(picture[every])
        for kept, picture in zip(outside, (after, before), strict=True):
            kept.append(picture[beside])
    pixels = [[np.concatenate(part)] for part in (*inside, *outside)]
    return [
        ("recall", f"{np.mean(found):.2f} of {len(found)}"),
        ("pixels changed beside dirt", f"{100 * float(np.mean(wrong)):.3f} %"),
        ("PSNR in dirt, dB", f"{_psnr(pixels[0], pixels[2]):.2f} -> {_psnr(pixels[1], pixels[2]):.2f}"),
        ("PSNR beside it to the dirty film, dB", f"{_psnr(pixels[3], pixels[4]):.1f}"),
    ]


def _cost(make: Callable[[], FrameFilter]) -> float:
    """Return the processor seconds for a frame of 640x480 in a moving film with all damage."""
    cv2.setNumThreads(1)
    frames = damage(pan(30, 480, 640), Amounts(flicker=0.03, weave=0.5, scratches=2, dust=8, grain=4), seed=2).damaged
    before = time.process_time()
    unfiltered(frames, FORMAT)
    began = time.process_time()
    filtered(make(), frames, FORMAT)
    ended = time.process_time()
    return ((ended - began) - (began - before)) / len(frames)


REPAIRS: dict[str, tuple[Callable[[], FrameFilter], Amounts, Callable[[Clip, list[Pixels]], Scores]]] = {
    "deflicker": (lambda: Deflicker(COLOUR, Clock()), Amounts(flicker=0.04, offset=2.0, grain=4.0), _flicker),
    "deflicker-in-parts": (lambda: Deflicker(COLOUR, Clock()), Amounts(uneven=0.04, grain=4.0), _uneven),
    "dirt": (lambda: DirtFiller(COLOUR, Clock()), Amounts(dust=8.0, grain=4.0), _dirt),
    "scratches": (lambda: ScratchFiller(COLOUR, Clock()), Amounts(scratches=4, grain=4.0), _scratches),
    "stabilise": (lambda: Stabiliser(COLOUR, Clock()), Amounts(weave=0.7, grain=4.0), _weave),
}
"""Of each repair: its filter, the damage that it is shown, and its scores."""


if __name__ == "__main__":
    sys.exit(main())
