"""Frames of a film that equal the one before them."""

from __future__ import annotations

import torch

from workers.generators.memory import memory_errors


class Repeats:
    """Finds the frames of one chunk that a network need not compute again."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None

    def of(self, rgb: torch.Tensor) -> list[bool]:
        """Return for each frame of the next batch, N x 3 x H x W, whether it equals the one before it, as networks see it: within [0, 1].

        The host waits for the current stream, so call it on a stream without the network's work. Where memory is short, no frame repeats another.
        """
        last, self._last = self._last, None
        try:
            with memory_errors():
                now = rgb.clamp(0, 1)
                known = last is not None and last.shape[1:] == now.shape[1:]
                both = torch.cat([last, now]) if last is not None and known else now
                same = [bool(one) for one in (both[1:] == both[:-1]).flatten(1).all(1).tolist()]
                self._last = now[-1:].clone()
        except MemoryError:
            return [False] * rgb.shape[0]
        return same if known else [False, *same]
