"""The record of restored faces for an item's provenance, and notes for the user."""

from __future__ import annotations

import math

from workers.faces.identity_check import LEAST_LIKENESS, MOST_DEPARTURE, Judgement
from workers.faces.track import Followed

LISTED = 200
"""Faces listed individually; all faces of a film would make the record larger than its frames."""


class FaceRecord:
    """The restored faces, in order."""

    def __init__(self) -> None:
        self._faces: list[dict[str, object]] = []
        self._remarks: list[str] = []
        self._restored = self._judgements = self._departed = self._lost = 0
        self._farthest, self._unlikest = 0.0, 1.0

    def add(self, frame: int, face: Followed, strength: float, judgement: Judgement | None) -> None:
        """Add a restored face; `judgement` is None if its identity was not checked."""
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

    def remark(self, note: str) -> None:
        """Add a note for the user, on faces of a still image."""
        self._remarks.append(note)

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
        """Return the counts and the list of faces.

        Each face has frame, box (source pixels), score, size, strength and, if checked, the judgement; its departure is None if the
        detector finds no face in the result.
        """
        return {
            "restored": self._restored,
            "judged": self._judgements,
            "departed": self._departed,
            "faces": list(self._faces),
        }

    def notes(self) -> list[str]:
        """Return the remarks, and a note if checked faces depart from their source."""
        if not self._departed:
            return list(self._remarks)
        reasons = [f"likeness down to {self._unlikest:.2f} (limit {LEAST_LIKENESS})"]
        if self._lost < self._judgements:
            reasons.insert(0, f"points up to {self._farthest:.2f} eye distances off (limit {MOST_DEPARTURE})")
        if self._lost:
            reasons.append(f"{self._lost} no longer detected as faces")
        note = f"{self._departed} of {self._judgements} checked faces depart from their source: {', '.join(reasons)}"
        return [*self._remarks, note + "; look at them, or lower --face-strength."]
