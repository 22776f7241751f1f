"""An enhancer whose frames leave the card finished, such as in code values, without ever being R'G'B' in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from workers.card.pictures import Picture
from workers.generators.enhancer import Enhancer
from workers.generators.faults import is_dark, is_lit
from workers.generators.fused import FusedNetwork
from workers.generators.memory import memory_errors

Finish = Callable[[Picture], tuple[torch.Tensor, torch.Tensor]]
"""Takes a picture with values to be limited to [0, 1]; returns what becomes of it, and the flags of `card.pictures.codes_from_rgb`."""


class FinishingEnhancer(Enhancer):
    """An enhancer of a `FusedNetwork`. Frames that it can process whole are finished by a kernel of the caller."""

    _network: FusedNetwork
    _before: tuple[torch.Tensor, torch.Tensor, Finish] | None = None
    """The last frame, what became of it, and how."""

    def forget(self) -> None:
        """Drop the last frame, so that the next frame is not compared with it."""
        super().forget()
        self._before = None

    @torch.no_grad()
    def finished(self, rgb: torch.Tensor, size: tuple[int, int], finish: Finish) -> torch.Tensor | None:
        """Enhance like `frames`, and return what `finish` makes of each frame, one row each.

        None means that `frames` must be asked: for another size than the network's own, for pictures that must be padded or cut
        into tiles, and when memory is short. Raises EnhanceError like `frames`.
        """
        height, width = rgb.shape[-2:]
        whole = (height * self.scale, width * self.scale)
        padded = height % self.architecture.multiple or width % self.architecture.multiple
        if size != whole or padded or max(height, width) > self._tile_size(rgb):
            self._before = None
            return None
        events, reused = self._events.copy(), self._reused
        self._exact_mode = False
        try:
            with memory_errors():
                made = torch.stack(list(self._made(rgb.clamp(0, 1), finish)))
        except MemoryError:  # `frames` cuts into tiles, and counts anew
            self._events, self._reused = events, reused
            self.forget()
            return None
        self._count("frames", rgb.shape[0])
        self._used = max(self._used, height, width)
        self._last = None
        return made

    def _made(self, inputs: torch.Tensor, finish: Finish) -> Iterator[torch.Tensor]:
        """Yield what becomes of each frame; those that equal the one before it share it."""
        before = self._before if self._before is not None and self._before[2] == finish else None
        same, last = [], before[0] if before is not None else None
        for n in range(inputs.shape[0]):
            same.append(last is not None and torch.equal(last, inputs[n]))
            last = inputs[n]
        wanted = [n for n, equal in enumerate(same) if not equal]
        fresh = iter(self._checked(inputs[wanted], finish) if wanted else [])
        made = before[1] if before is not None else None
        for n, equal in enumerate(same):
            if equal:
                self._count("frames_reused")
                self._reused += 1
            else:
                made = next(fresh)
            assert made is not None, "only a frame with one before it is reused"
            self._before = (inputs[n], made, finish)
            yield made

    def _checked(self, inputs: torch.Tensor, finish: Finish) -> list[torch.Tensor]:
        """Run the network on a batch; frames whose result is broken are computed again."""
        self._network.checkpoint()
        pictures = self._network.pictures(self._filled(inputs))[: inputs.shape[0]]
        both = [finish(picture) for picture in pictures]
        self._count("network_calls")
        made = [values for values, _ in both]
        flags = torch.stack([found for _, found in both]).cpu()  # the batch is waited for once
        highest, faulty = flags[:, 0].contiguous().view(torch.float32).tolist(), flags[:, 1].tolist()
        for n, (largest, broken) in enumerate(zip(highest, faulty, strict=True)):
            if broken or (is_dark(largest) and is_lit(inputs[n])):
                # Run again as `frames` does, which knows what to do about each fault.
                whole = self._box(inputs[n : n + 1], (0, 0, *inputs.shape[-2:]), None, 0.0, 1.0)
                made[n] = finish(Picture(whole[0]))[0]
        return made
