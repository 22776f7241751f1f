"""Tracking of faces from frame to frame, so that they neither jump nor appear and vanish abruptly.

The state of a face at a frame depends only on the last WINDOW frames. A chunk with WINDOW - 1
context frames before its own therefore gives the same result as the whole film.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from contract.film import FACE_CONTEXT
from workers.faces.detect import Detection, Points, overlap
from workers.shot_detection import Thumbnail, is_cut

WINDOW = FACE_CONTEXT + 1
"""Frames, the newest included."""
GAP = 2
"""Frames for which a face that the detector misses is still tracked."""
LEAST_OVERLAP = 0.3
"""Least intersection over union of two boxes of one face in neighbouring frames (SORT's value: Bewley 2016)."""

Key = tuple[int, int]
"""One detection: the frame's number and the detection's index in it."""


@dataclass
class Track:
    """One face in some frames of the window, oldest first."""

    keys: list[Key] = field(default_factory=list)
    seen: list[Detection] = field(default_factory=list)

    @property
    def last(self) -> Detection:
        """The newest detection."""
        return self.seen[-1]


@dataclass(frozen=True)
class Followed:
    """A tracked face at the newest frame.

    `points` are smoothed. `weight` in (0, 1] is the confidence that the face exists: 1 if it was detected in every frame since
    the cut or for WINDOW frames. `keys` are its detections in the window, `size` is the mean shorter side of its boxes.
    """

    keys: tuple[Key, ...]
    detection: Detection
    points: Points
    weight: float
    size: float
    area: float


class Tracks:
    """The sliding window of frames in which faces are tracked."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, list[Detection]]] = deque(maxlen=WINDOW)
        self._last: Thumbnail | None = None

    def add(self, number: int, detections: list[Detection], small: Thumbnail) -> list[Followed]:
        """Add `number`, the next frame, and return its faces; a cut drops all earlier frames."""
        if self._last is not None and is_cut(self._last, small):
            self._frames.clear()
        self._last = small
        self._frames.append((number, detections))
        followed = [_follow(track, number, len(self._frames)) for track in self._tracks()]
        return [face for face in followed if face.weight > 0]

    def _tracks(self) -> list[Track]:
        tracks: list[Track] = []
        for number, detections in self._frames:
            free = set(range(len(detections)))
            alive = [track for track in tracks if number - track.keys[-1][0] <= GAP + 1]
            pairs = [(overlap(track.last, detections[n]), -t, -n) for t, track in enumerate(alive) for n in free]
            taken: set[int] = set()
            for shared, t, n in sorted(pairs, reverse=True):
                if shared >= LEAST_OVERLAP and -t not in taken and -n in free:
                    taken.add(-t)
                    free.remove(-n)
                    alive[-t].keys.append((number, -n))
                    alive[-t].seen.append(detections[-n])
            tracks += [Track([(number, n)], [detections[n]]) for n in sorted(free)]
        return tracks


def _follow(track: Track, number: int, frames: int) -> Followed:
    missing = number - track.keys[-1][0]
    fading = max(0.0, 1 - missing / (GAP + 1))
    return Followed(
        keys=tuple(track.keys),
        detection=track.last,
        points=smoothed([key[0] - number for key in track.keys], [seen.points for seen in track.seen]),
        weight=min(1.0, len(track.keys) / frames * fading) if missing <= GAP else 0.0,
        size=float(np.mean([seen.size for seen in track.seen])),
        area=float(np.mean([seen.area for seen in track.seen])),
    )


def smoothed(ages: list[int], points: list[Points]) -> Points:
    """Smooth the points at `ages` (0 and below) and return those at age 0.

    Their centre follows a straight line, so that the result does not lag behind a moving face. Their arrangement around it is
    the mean, because it changes slowly and the detector's noise is largest there.
    """
    times = np.array(ages, dtype=np.float64)
    middles = np.stack([p.mean(axis=0) for p in points])
    shape = np.mean([p - m for p, m in zip(points, middles, strict=True)], axis=0)
    spread = times - times.mean()
    slope = (spread[:, None] * middles).sum(axis=0) / max(float((spread**2).sum()), 1.0)
    return np.asarray(middles.mean(axis=0) - slope * times.mean() + shape, dtype=np.float64)
