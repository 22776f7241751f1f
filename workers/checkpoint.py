"""The checkpoint that long work calls between batches."""

from __future__ import annotations

from typing import Protocol


class Checkpoint(Protocol):
    """Called between batches with the number of finished frames; raises to stop the work."""

    def __call__(self, frames: int = 0) -> None:
        """Return at once, or raise Interrupted, Cancelled or LeaseLost."""
