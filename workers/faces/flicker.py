"""Flicker: the change of a restored face from frame to frame, compared with the source's own change."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from workers.faces.track import Key


@dataclass
class Flicker:
    """Sums of changes over pairs of neighbouring frames of one face, in the aligned square, so that motion cancels out.

    `add` takes the same face in the source, in the enhanced frame before face restoration, and in the result.
    """

    pairs: int = 0
    source: float = 0.0
    background: float = 0.0
    restored: float = 0.0

    def __post_init__(self) -> None:
        self._before: dict[Key, torch.Tensor] = {}
        self._now: dict[Key, torch.Tensor] = {}

    def next_frame(self) -> None:
        """Start the next frame; the current one becomes the previous."""
        self._before, self._now = self._now, {}

    def add(self, keys: tuple[Key, ...], faces: torch.Tensor) -> None:
        """Add the face whose detections are `keys`; `faces` is 3 x 3 x n x n (source, enhanced, result; RGB in [0, 1])."""
        self._now[keys[-1]] = faces
        earlier = next((self._before[key] for key in reversed(keys) if key in self._before), None)
        if earlier is None:
            return
        change = (faces - earlier).abs().mean(dim=(1, 2, 3)) * 255
        self.pairs += 1
        self.source += float(change[0])
        self.background += float(change[1])
        self.restored += float(change[2])

    def record(self) -> dict[str, float]:
        """Return the mean absolute changes in code values of 255, and the number of pairs."""
        if not self.pairs:
            return {"pairs": 0}
        return {
            "pairs": self.pairs,
            "source": round(self.source / self.pairs, 3),
            "enhanced": round(self.background / self.pairs, 3),
            "restored": round(self.restored / self.pairs, 3),
        }
