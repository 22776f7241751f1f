"""Films of a grammar, restored and held against FFmpeg's own sequential decode: each must be exact, named or refused.

    python -m benchmarks.fidelity.differential [--first 0] [--count 200] [--minutes 60]

Each film is planned (what `probe` does) and restored with the identity, cut at random; every fourth also with lanczos at
scale 1. A case is named by its number, which seeds everything about it. Never silently different, never a crash.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from contract.errors import RespoolError, VerifyError
from contract.job import Spec
from contract.settings import Settings
from media.frame_changes import merged
from media.likeness import luma_of
from testkit.materials.check import compare, film_of
from testkit.materials.grammar import Drawn, draw
from testkit.materials.in_process import restore
from workers.generators.registry import load

if TYPE_CHECKING:
    from testkit.materials.in_process import Restored

HANG_S = 120
"""A film of 40 small frames takes a second; after so long it counts as a hang."""
TARGETS = (
    ("ffv1", "mkv"),
    ("ffv1", "mkv"),
    ("ffv1", "mkv"),
    ("x264", "mp4"),
    ("x264", "mov"),
    ("x264", "ts"),
    ("x265", "mkv"),
)
LANCZOS = 4
"""Every so many films go through lanczos, too."""
CLOSE = 2.0
"""Mean difference of luma, in code values of 255, that lanczos at scale 1 may make."""


@dataclass(frozen=True)
class Case:
    """Outcome of one film: exact, named or refused; silent and broken are failures."""

    number: int
    words: str
    state: str
    said: str


def run_case(number: int, folder: Path) -> Case:
    """Draw, restore and compare one film."""
    rng = np.random.default_rng((number, 5))
    drawn = draw(number)
    codec, target = TARGETS[int(rng.integers(len(TARGETS)))]
    words = f"{drawn.words}, to {codec} in {target}"
    source = folder / f"film.{drawn.form}"
    source.write_bytes(drawn.data)
    spec = Spec(model="identity", codec=codec, chunk_frames=int(rng.choice([3, 7, 16, 100])))  # type: ignore[arg-type]
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        done = restore(source, f"result.{target}", spec, folder)
        found = compare(drawn.data, done.data, codec == "ffv1", codec, joined=", joined" in drawn.words)
        problems = found.problems
        if number % LANCZOS == 0:
            problems = problems + _through_lanczos(source, drawn, folder)
    except VerifyError as error:
        return Case(number, words, "broken", str(error))
    except RespoolError as error:
        return Case(number, words, "refused", str(error))
    except Exception as error:
        return Case(number, words, "broken", f"{type(error).__name__}: {error}")
    finally:
        faulthandler.cancel_dump_traceback_later()
    if not problems:
        return Case(number, words, "exact", "")
    said = _said(done)
    return Case(number, words, "named" if said else "silent", "; ".join(problems) + " | " + "; ".join(said))


def _said(done: Restored) -> list[str]:
    notes = [*done.notes, *merged(note for result in done.results for note in result.notes)]
    return notes + [f"frames {first}-{first + max(count, 1) - 1}: {why}" for first, count, why in done.damage]


def _through_lanczos(source: Path, drawn: Drawn, folder: Path) -> list[str]:
    """List what is wrong with the film after lanczos at scale 1, which must give nearly the source's pictures."""
    spec = Spec(model="lanczos", scale=1, codec="ffv1", chunk_frames=9, pix_fmt=None)
    try:
        done = restore(source, "lanczos.mkv", spec, folder, load(spec, {}, Settings(device="cpu")))
    except RespoolError:
        return []  # refused in a sentence, as the identity's way need not be
    if done.index.deinterlace:
        return [] if drawn.interlaced else ["a progressive film is deinterlaced"]
    try:
        before = _lumas(drawn.data)
    except av.error.FFmpegError:
        return []  # broken where it was joined: the identity's way tells how it is restored
    after = _lumas(done.data)
    if len(before) != len(after):
        return [f"lanczos gives {len(after)} frames instead of {len(before)}"]
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a.shape == b.shape]
    far = [i for i, (a, b) in enumerate(pairs) if np.abs(a - b).mean() > CLOSE]
    return [f"{len(far)} frames are far from the source after lanczos, the first is {far[0]}"] if far else []


def _lumas(data: bytes) -> list[np.ndarray]:
    """Return the luma of all frames in code values of 255, as it is stored: conversions depend on tags."""
    with av.open(io.BytesIO(data), "r", metadata_errors="replace") as container:
        found = [luma_of(frame) for frame in container.decode(film_of(container))]
        return [luma.astype(np.float32) / (1 << depth - 8) for luma, depth in found]


def main() -> int:
    """Run the cases asked for; exit 1 when any was silent or broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so many minutes of CPU")
    parser.add_argument("--verbose", action="store_true")
    wanted = parser.parse_args()
    tally: Counter[str] = Counter()
    number = wanted.first
    with tempfile.TemporaryDirectory() as folder:
        for number in range(wanted.first, wanted.first + wanted.count):
            case = run_case(number, Path(folder))
            tally[case.state] += 1
            if wanted.verbose or case.state in ("silent", "broken"):
                sys.stdout.write(f"{case.number} {case.words}: {case.state} {case.said[:600]}\n")
                sys.stdout.flush()
            if wanted.minutes and time.process_time() > 60 * wanted.minutes:
                break
    states = ", ".join(f"{count} {state}" for state, count in sorted(tally.items()))
    sys.stdout.write(f"{wanted.first} to {number}: {states}; {time.process_time():.0f} s of CPU\n")
    return int(bool(tally["silent"] or tally["broken"]))


if __name__ == "__main__":
    sys.exit(main())
