"""The check that each frame of a result shows the frame of the source that was decoded for it. Pure.

A network, a codec or a change of range moves the means of blocks a little, and alike in neighbouring frames. Frames that
changed places after they were decoded differ at once, and resemble another frame of the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import VerifyError
from contract.job import Done, where
from media.likeness import SIZE, Looks, unpack_looks

LOOKS = "looks"
"""The key of the coarse pictures of a chunk's frames in the record of its commit."""
_AROUND = 31
"""Frames over whose middle value the lasting difference between source and result is taken."""
_LEAST = 6.0
"""Code values of 255 by which one block must differ from what its neighbours in time let expect."""
_SUDDEN = 16.0
"""Root of the mean square of all blocks beyond which a sudden difference is another picture, whatever it resembles."""
_ABOVE = 3.0
"""Times by which a sudden difference must exceed what is usual in the film: encoders at their lowest quality freeze pictures."""
_LASTING = 12.0
"""The same for a difference that lasts, which must resemble another frame three times as well."""
_MOST = 1000
"""Frames that are looked for among all of the source's at most."""
_PART = 8192
"""Frames that are looked at together: a film's coarse pictures as floating point would take four times their memory."""

Coarse = npt.NDArray[np.uint8]
"""Coarse pictures as they are stored: N x SIZE."""


@dataclass(frozen=True)
class Stranger:
    """`count` frames from `first` on (of those compared) that show frames from `shown` on instead, or no frame: None."""

    first: int
    count: int
    shown: int | None


def coarse_pictures(commits: Sequence[Done]) -> bytes | None:
    """Return the coarse pictures of all delivered frames as they went to the network; None where a commit has none."""
    found = []
    for commit in commits:
        if LOOKS not in commit.record:
            return None
        looks = msgspec.json.decode(commit.record[LOOKS], type=bytes)
        if len(looks) != commit.frames * SIZE:
            raise VerifyError(
                f"{where(commit.first, commit.count)} were delivered as {commit.frames} frames with {len(looks) // SIZE} coarse "
                "pictures; `respool retry` the job, and report this as a defect."
            )
        found.append(looks)
    return b"".join(found)


def unlike(source: bytes, result: bytes) -> list[str]:
    """Describe the frames of a result that show something else than the source's. The result may end early."""
    before, after = (unpack_looks(looks) for looks in (source, result))
    return [
        f"{where(run.first, run.count)} of the result {'shows' if run.count == 1 else 'show'} "
        + ("no picture of the source" if run.shown is None else f"{where(run.shown, run.count)} of the source")
        for run in strangers(before[: len(after)], after[: len(before)])
    ]


def strangers(source: Coarse, result: Coarse) -> list[Stranger]:
    """Return the frames of `result` that do not show the frame of `source` with the same number.

    A difference that a player's eye would hardly see (below `_LEAST`) is none.
    """
    if not len(source):
        return []
    slope, offset = _line(source, result)
    found: dict[int, int | None] = {}
    for first, before, after in _parts(source, result):
        fitted = before * slope + offset
        error = after - fitted
        sudden = error - _lasting(error)
        by_block, by_frame, whole = np.abs(sudden).max(axis=1), _rms(sudden), _rms(error)
        unusual = by_frame >= _ABOVE * float(np.median(by_frame))
        for n in map(int, np.flatnonzero((by_block >= _LEAST) | (whole >= _LASTING))):
            if first + n in found or len(found) >= _MOST:
                continue
            nearest, distance = _nearest(source, (after[n] - (error[n] - sudden[n]) - offset) / slope)
            far = by_frame[n] / (distance * slope + 1e-6)
            if by_block[n] >= _LEAST and nearest != first + n and (far >= 4 or (far >= 2 and unusual[n])):
                found[first + n] = nearest
                continue
            nearest, distance = _nearest(source, (after[n] - offset) / slope)
            if whole[n] >= _LASTING and nearest != first + n and distance * slope <= whole[n] / 3:
                found[first + n] = nearest
            elif by_frame[n] >= _SUDDEN and unusual[n]:
                found[first + n] = None
    return _runs(found)


def _parts(source: Coarse, result: Coarse) -> Iterator[tuple[int, Looks, Looks]]:
    """Yield stretches of both with the number of their first frame; they overlap, so that each frame has neighbours in one."""
    start = 0
    while True:
        end = start + _PART + _AROUND
        yield start, source[start:end].astype(np.float32), result[start:end].astype(np.float32)
        if end >= len(source):
            return
        start += _PART - _AROUND


def _line(source: Coarse, result: Coarse) -> tuple[float, float]:
    """Return slope and offset by which `source` comes nearest to `result`, with the slope near 1."""
    counts = np.zeros((256, 256))
    np.add.at(counts, (source.ravel(), result.ravel()), 1)
    values, total = np.arange(256), counts.sum()
    mean, other = float(counts.sum(1) @ values / total), float(counts.sum(0) @ values / total)
    spread = float(counts.sum(1) @ (values - mean) ** 2 / total)
    both = float((values - mean) @ counts @ (values - other) / total)
    slope = min(max(both / spread, 0.8), 1.25) if spread > 1 else 1.0
    return slope, other - mean * slope


def _lasting(error: Looks) -> Looks:
    """Return, for each frame and block, the middle value of the differences around it."""
    if len(error) < 3:
        return np.zeros_like(error)
    half = min(_AROUND, len(error) - 1 | 1) // 2
    padded = np.pad(error, ((half, half), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    step = 4096
    parts = [np.median(windows[n : n + step], axis=-1) for n in range(0, len(error), step)]
    return np.concatenate(parts).astype(np.float32)


def _rms(values: Looks) -> Looks:
    return np.asarray(np.sqrt((values**2).mean(axis=-1)), np.float32)


def _nearest(source: Coarse, look: Looks) -> tuple[int, float]:
    """Return the frame of the source that resembles `look` most, and its distance."""
    best = (0, float("inf"))
    for start in range(0, len(source), _PART):
        distances = _rms(source[start : start + _PART] - look)
        nearest = int(distances.argmin())
        best = min(best, (start + nearest, float(distances[nearest])), key=lambda pair: pair[1])
    return best


def _runs(found: dict[int, int | None]) -> list[Stranger]:
    """Join neighbours that show neighbours, or nothing."""
    runs: list[Stranger] = []
    for frame, shown in sorted(found.items()):
        last = runs[-1] if runs else None
        if last is not None and frame == last.first + last.count:
            expected = None if last.shown is None else last.shown + last.count
            if shown == expected:
                runs[-1] = Stranger(last.first, last.count + 1, last.shown)
                continue
        runs.append(Stranger(frame, 1, shown))
    return runs
