"""What became of each face: the record of an item, and what its user must be told."""

from __future__ import annotations

import math

from workers.faces.identity_check import LEAST_LIKENESS, MOST_DEPARTURE, Judgement
from workers.faces.track import Followed

LISTED = 200
"""Faces listed one by one; a whole film's would make the record larger than its frames."""


class Journal:
    """Faces restored, in order."""

    def __init__(self) -> None:
        self._faces: list[dict[str, object]] = []
        self._restored = self._judgements = self._departed = self._lost = 0
        self._farthest, self._unlikest = 0.0, 1.0

    def add(self, frame: int, face: Followed, strength: float, judgement: Judgement | None) -> None:
        """One face, restored; `judgement` is None where it was not judged again."""
        self._restored += 1
        entry: dict[str, object] = {
            "frame": frame,
            "box": [round(v, 1) for v in face.detection.box],
            "score": round(face.detection.score, 3),
            "size": round(face.size, 1),
            "strength": round(strength, 3),
        }
        if judgement is not None:
            entry |= self._judged(judgement)
        if len(self._faces) < LISTED:
            self._faces.append(entry)

    def _judged(self, judgement: Judgement) -> dict[str, object]:
        seen = not math.isinf(judgement.departure)
        self._judgements += 1
        self._departed += judgement.departed
        self._lost += not seen
        self._farthest = max(self._farthest, judgement.departure if seen else 0.0)
        self._unlikest = min(self._unlikest, judgement.likeness)
        return {
            "departure": round(judgement.departure, 3) if seen else None,
            "likeness": round(judgement.likeness, 3),
            "departed": judgement.departed,
        }

    def record(self) -> dict[str, object]:
        """Counts, and each face: frame, box (source pixels), score, size, strength, judgement (departure None: not seen)."""
        return {
            "restored": self._restored,
            "judged": self._judgements,
            "departed": self._departed,
            "faces": list(self._faces),
        }

    def notes(self) -> list[str]:
        if not self._departed:
            return []
        said = [f"likeness down to {self._unlikest:.2f} (limit {LEAST_LIKENESS})"]
        if self._lost < self._judgements:
            said.insert(0, f"points up to {self._farthest:.2f} eye distances off (limit {MOST_DEPARTURE})")
        if self._lost:
            said.append(f"{self._lost} no longer seen as faces")
        note = f"{self._departed} of {self._judgements} judged faces depart from their source: {', '.join(said)}"
        return [note + "; look at them, or lower --face-strength."]
