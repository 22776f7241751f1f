"""Faces followed from frame to frame, so that they neither jump nor pop.

All that is said about a face at a frame follows from the last WINDOW frames alone. A chunk that carries WINDOW - 1
context frames before its own therefore says the same about them as the whole film would.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from contract.film import FACE_CONTEXT
from workers.faces.detect import Detection, Points, overlap
from workers.film.shot_detection import Thumbnail, is_cut

WINDOW = FACE_CONTEXT + 1
"""Frames, the newest included."""
GAP = 2
"""Frames for which a face that the detector misses is still followed."""
LEAST_OVERLAP = 0.3
"""Intersection over union from which on two boxes of neighbouring frames are one face (SORT's value: Bewley 2016)."""

Key = tuple[int, int]
"""One detection: the frame's number and the detection's place in it."""


@dataclass
class Track:
    """One face over some frames of the window, oldest first."""

    keys: list[Key] = field(default_factory=list)
    seen: list[Detection] = field(default_factory=list)

    @property
    def last(self) -> Detection:
        return self.seen[-1]


@dataclass(frozen=True)
class Followed:
    """A face at the newest frame.

    `points` are smoothed; `weight` in (0, 1] is how sure it is that a face is there, 1 for one seen in every frame since
    the cut or for WINDOW frames. `keys` are its detections in the window, `size` the mean shorter side of its boxes.
    """

    keys: tuple[Key, ...]
    detection: Detection
    points: Points
    weight: float
    size: float
    area: float


class Tracks:
    """The window that slides over the frames."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, list[Detection]]] = deque(maxlen=WINDOW)
        self._last: Thumbnail | None = None

    def add(self, number: int, detections: list[Detection], small: Thumbnail) -> list[Followed]:
        """The faces to restore in frame `number`, the next one; a cut forgets what was before it."""
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
    """Points at age 0 from those at `ages` (0 and below).

    Their middle follows a straight line, so that a moving face is not lagged behind; their arrangement about it is
    the mean, since it changes slowly and is what the detector is noisiest in.
    """
    times = np.array(ages, dtype=np.float64)
    middles = np.stack([p.mean(axis=0) for p in points])
    shape = np.mean([p - m for p, m in zip(points, middles, strict=True)], axis=0)
    spread = times - times.mean()
    slope = (spread[:, None] * middles).sum(axis=0) / max(float((spread**2).sum()), 1.0)
    return np.asarray(middles.mean(axis=0) - slope * times.mean() + shape, dtype=np.float64)
