"""Seeded corruptions of every kind of film, each restored in one process and compared with its source."""

from __future__ import annotations

import faulthandler
import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import RespoolError, VerifyError
from contract.job import Spec
from testkit.materials.catalog import by_name
from testkit.materials.check import compare
from testkit.materials.damage import APPLY
from testkit.materials.in_process import restore

BASES = (
    "h264-closed-gop", "h264-open-gop", "h264-open-gop-ts", "hevc-open-gop", "hevc-10-bit", "mpeg2-interlaced-pal",
    "mpeg4-b-frames-in-avi", "h264-b-frames-in-avi", "mjpeg", "vp9", "av1", "fragmented-mp4", "everything-in-mkv",
    "h264-intra-refresh", "h264-field-pictures", "ffv1", "variable-rate-mp4", "h264-raw", "dv-ntsc-411", "vp8",
)  # fmt: skip
HANG_S = 60
"""A case of 48 small frames takes a fraction of a second; after so long it counts as a hang."""


@dataclass(frozen=True)
class Case:
    """Outcome of one corrupted film: exact, flagged or refused; silent and broken are failures."""

    number: int
    name: str
    state: str
    words: str
    seconds: float


@functools.cache
def base(name: str) -> bytes:
    """Return the uncorrupted film of that material; each is made once."""
    return by_name(name).make()


def run_case(number: int, folder: Path) -> Case:
    """Corrupt, restore and compare one film."""
    rng = np.random.default_rng(number)
    name = BASES[number % len(BASES)]
    kind = str(rng.choice(list(APPLY)))
    data = APPLY[kind](base(name), number)
    source = folder / f"film.{by_name(name).suffix}"
    source.write_bytes(data)
    spec = Spec(model="identity", codec="ffv1", chunk_frames=int(rng.choice([5, 9, 16, 100])))
    label = f"{name} {kind}"
    began = time.perf_counter()
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        done = restore(source, "result.mkv", spec, folder)
        verdict = compare(data, done.data, lossless=True)
    except VerifyError as error:  # a result of our own making that fails its checks is no refusal of the source
        return Case(number, label, "broken", str(error), time.perf_counter() - began)
    except RespoolError as error:
        return Case(number, label, "refused", str(error), time.perf_counter() - began)
    except Exception as error:
        return Case(number, label, "broken", f"{type(error).__name__}: {error}", time.perf_counter() - began)
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds = time.perf_counter() - began
    if not verdict.problems:
        return Case(number, label, "exact", "", seconds)
    said = done.notes + [f"frames {f}-{f + max(c, 1) - 1}: {r}" for f, c, r in done.damage]
    state = "flagged" if said else "silent"
    return Case(number, label, state, "; ".join(verdict.problems) + " | " + "; ".join(said), seconds)
