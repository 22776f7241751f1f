"""The pair pool of the Real-ESRGAN paper: patches of many steps mixed, so that a batch has more than one path of resizes."""

from __future__ import annotations

import torch

from training.data.patches import Batch, rng_of

State = dict[str, torch.Tensor]


class PairPool:
    """Up to `size` pairs of one slot. What goes in and out depends on seed, step, slot and the pool's content alone."""

    def __init__(self, size: int, seed: int, slot: int) -> None:
        self._size, self._seed, self._slot = size, seed, slot
        self._low: torch.Tensor | None = None
        self._clean: torch.Tensor | None = None

    def exchange(self, batch: Batch, step: int, rewinds: int) -> Batch:
        """Put a micro-batch in; once the pool is full, give as many others back, drawn at random."""
        count = batch.low.shape[0]
        if self._low is None or self._clean is None:
            self._low, self._clean = batch.low, batch.clean
            return batch
        if self._low.shape[0] + count <= self._size:
            self._low, self._clean = torch.cat((self._low, batch.low)), torch.cat((self._clean, batch.clean))
            return batch
        rng = rng_of("pool", self._seed, step, self._slot, rewinds)
        order = torch.from_numpy(rng.permutation(self._low.shape[0])).to(self._low.device)
        taken = order[:count]
        given = Batch(self._low[taken].clone(), self._clean[taken].clone())
        self._low[taken], self._clean[taken] = batch.low, batch.clean
        return given

    def state(self) -> State:
        """Return the content, for a checkpoint: whole code values, so that bytes hold it exactly."""
        if self._low is None or self._clean is None:
            return {}
        return {"low": _bytes(self._low), "clean": _bytes(self._clean)}

    def load(self, state: State, device: torch.device) -> None:
        """Take the content of a checkpoint over."""
        self._low = state["low"].to(device).float() / 255 if state else None
        self._clean = state["clean"].to(device).float() / 255 if state else None


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return (values * 255).round().to("cpu", torch.uint8)
