"""An enhancer whose frames leave the card finished, such as in code values, without ever being R'G'B' in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from workers.card.host_copy import HostCopy
from workers.card.pictures import Picture
from workers.card.streams import Sent, send
from workers.generators.enhancer import Enhancer
from workers.generators.faults import is_dark, is_lit
from workers.generators.fused import FusedNetwork
from workers.generators.memory import memory_errors

Finish = Callable[[Picture], tuple[torch.Tensor, torch.Tensor]]
"""Takes a picture with values to be limited to [0, 1]; returns what becomes of it, and the flags of `card.pictures.codes_from_rgb`."""


@dataclass(frozen=True)
class Begun:
    """A batch in the network. `inputs` are N x 3 x H x W within [0, 1]; those that are no `repeats` of the frame before them are computed.

    `made` and `flags` are what `finish` returns of these; `made` is None where `frames` must be asked, also because memory was `short`.
    """

    inputs: torch.Tensor
    repeats: tuple[bool, ...]
    finish: Finish
    made: list[torch.Tensor] | None = None
    flags: HostCopy | None = None
    short: bool = False


class FinishingEnhancer(Enhancer):
    """An enhancer of a `FusedNetwork`. Frames that it can process whole are finished by a kernel of the caller.

    A batch is begun and ended, and the next may be begun between the two, so that the device has work while the host reads the flags.
    """

    _network: FusedNetwork
    _before: Sent | None = None
    """The result of the last frame of the batch that was ended last."""
    _continued = False
    """True while the last frame of the batch that was begun last is expected to be finished."""

    def forget(self) -> None:
        """Drop the last frame, so that the next frame is not compared with it."""
        super().forget()
        self._before = None

    @torch.no_grad()
    def begin(self, rgb: torch.Tensor, repeats: Sequence[bool], size: tuple[int, int], finish: Finish) -> Begun:
        """Begin to enhance like `frames`, and to `finish` each frame; the host waits for nothing.

        `repeats` says which frames equal the one before them; the first may do so where the batch before had the same `finish`. Batches must
        be ended in the order in which they were begun.
        """
        height, width = rgb.shape[-2:]
        whole = (height * self.scale, width * self.scale)
        padded = height % self.architecture.multiple or width % self.architecture.multiple
        follows, self._continued = self._continued, False
        if size != whole or padded or max(height, width) > self._tile_size(rgb):
            return Begun(rgb, (), finish)
        self._exact_mode = False
        try:
            with memory_errors():
                begun = self._launched(rgb.clamp(0, 1), (follows and repeats[0], *repeats[1:]), finish)
        except MemoryError:
            return Begun(rgb, (), finish, short=True)
        self._continued = True
        return begun

    @torch.no_grad()
    def end(self, begun: Begun) -> list[Sent] | None:
        """Return what `finish` made of each frame of a batch; frames whose result is broken are computed again before.

        None means that `frames` must be asked: for another size than the network's own, for pictures that must be padded or cut
        into tiles, and when memory is short. Raises EnhanceError like `frames`.
        """
        height, width = begun.inputs.shape[-2:]
        if begun.short:
            self.forget()
        if begun.made is None or 0 < self._limit < max(height, width):  # a batch ended meanwhile may have set the limit
            self._before = None
            return None
        events, reused = self._events.copy(), self._reused
        try:
            with memory_errors():
                made = self._ended(begun)
        except MemoryError:  # `frames` cuts into tiles, and counts anew
            self._events, self._reused = events, reused
            self.forget()
            return None
        self._count("frames", begun.inputs.shape[0])
        self._used = max(self._used, height, width)
        self._last = None
        return made

    def _launched(self, inputs: torch.Tensor, repeats: tuple[bool, ...], finish: Finish) -> Begun:
        """Run the network on the frames that are no repeats."""
        wanted = [inputs[n] for n, equal in enumerate(repeats) if not equal]
        if not wanted:
            return Begun(inputs, repeats, finish, [])
        self._network.checkpoint()
        # An index would be copied to the device, which the host waits for.
        batch = inputs if len(wanted) == len(repeats) else torch.stack(wanted)
        both = [finish(picture) for picture in self._network.pictures(self._filled(batch))[: len(wanted)]]
        flags = HostCopy(torch.stack([found for _, found in both]))
        return Begun(inputs, repeats, finish, [values for values, _ in both], flags)

    def _ended(self, begun: Begun) -> list[Sent]:
        """Return what becomes of each frame; those that equal the one before it share it."""
        if begun.repeats[0] and self._before is None:  # that one was to be finished, but went the long way
            begun = self._launched(begun.inputs, (False, *begun.repeats[1:]), begun.finish)
        fresh = iter(self._checked(begun))
        made = []
        for equal in begun.repeats:
            if equal:
                self._count("frames_reused")
                self._reused += 1
            else:
                self._before = next(fresh)
            assert self._before is not None, "only a frame with one before it is reused"
            made.append(self._before)
        return made

    def _checked(self, begun: Begun) -> list[Sent]:
        """Return the results of the frames that were computed; those that are broken are computed again."""
        assert begun.made is not None, "a batch of the long way is not ended here"
        if begun.flags is None:
            return []
        self._count("network_calls")
        flags = begun.flags.read()
        made = [Sent(values, begun.flags.ready) for values in begun.made]
        highest, faulty = flags[:, 0].contiguous().view(torch.float32).tolist(), flags[:, 1].tolist()
        wanted = [n for n, equal in enumerate(begun.repeats) if not equal]
        for k, (n, largest, broken) in enumerate(zip(wanted, highest, faulty, strict=True)):
            if broken or (is_dark(largest) and is_lit(begun.inputs[n])):
                # Run again as `frames` does, which knows what to do about each fault.
                whole = self._box(begun.inputs[n : n + 1], (0, 0, *begun.inputs.shape[-2:]), None, 0.0, 1.0)
                made[k] = send(begun.finish(Picture(whole[0]))[0])
        return made
