"""The generator's interface to the rest of the worker: frames in, larger frames out, with device errors handled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from contract.errors import EnhanceError
from workers.card.proof import Proofs
from workers.generators.faults import faults_of
from workers.generators.frame_diff import changed_boxes
from workers.generators.lanczos import resize
from workers.generators.memory import free_memory, memory_errors
from workers.generators.network import Architecture, Network
from workers.generators.tiling import SMALLEST, Box, Tile, largest_tile, tiles

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Last:
    """The previous frame and its results.

    `inputs` is the network's input (1 x 3 x H x W, padded), `native` its output, `full` the output's height and width without
    padding, and `result` the output resized to `size`.
    """

    inputs: torch.Tensor
    native: torch.Tensor
    full: tuple[int, int]
    size: tuple[int, int]
    result: torch.Tensor


class Enhancer:
    """A loaded generator. One for each worker process and set of weights; not thread-safe.

    `scale` is the network's own; `halo` is that of its tiles in input pixels; `identity` means that callers leave frames untouched
    and do not call it; `reason` explains why `backend` and `precision` were chosen.
    """

    def __init__(
        self,
        architecture: Architecture,
        network: Network,
        reason: str,
        tile: int = 0,
        identity: bool = False,
        exact: Callable[[], Network] | None = None,
        free: Callable[[torch.device], int] | None = None,
        proofs: Proofs | None = None,
    ) -> None:
        """Wrap `network`.

        `tile` is the side in input pixels of the largest part of a frame to process at once, 0 for as much as memory allows.
        `exact` builds the same network in fp32, for results that are broken; `free` returns the bytes free on a device. `proofs` are of kernels
        on this card, for stages beside the network; None where there is none, or no Triton.
        """
        self.architecture = architecture
        self.name = architecture.name
        self.scale = architecture.scale
        self.halo = architecture.halo
        self.identity = identity
        self.device = str(network.device)
        self.precision = network.precision
        self.backend = network.backend
        self.reason = reason
        self.proofs = proofs
        self._network = network
        self._make_exact = exact
        self._exact: Network | None = None
        self._exact_mode = False
        self._free = free or free_memory
        # A card computes a whole frame in the time in which parts of it would be found; there, too, each batch size is recorded.
        self._on_card = network.device.type != "cpu"
        self._wanted = tile
        self._limit = 0  # largest tile after an out-of-memory error; 0 is no limit
        self._used = 0
        self._events: dict[str, int] = {}
        self._reused = 0.0
        self._last: _Last | None = None

    def record(self) -> dict[str, object]:
        """Return the record of the work since the last call, and reset its counters.

        `reused` is the share of all input pixels whose result was taken from the previous frame; `tile` is the side in input pixels
        of the largest part processed at once.
        """
        events, self._events = self._events, {}
        reused, self._reused = self._reused, 0.0
        used = self._exact if self._exact_mode and self._exact is not None else self._network
        return {
            "generator": self.name,
            "backend": used.backend,
            "device": self.device,
            "precision": used.precision,
            "reason": self.reason,
            "tile": self._used,
            "reused": round(reused / max(1, events.get("frames", 0)), 4),
            **events,
        }

    def stop_by(self, checkpoint: Callable[[], None]) -> None:
        """Call `checkpoint` before each tile and between the layers of the network from now on; it raises to stop."""
        for network in (self._network, self._exact):
            if network is not None:
                network.checkpoint = checkpoint

    def forget(self) -> None:
        """Drop the last frame, so that the next frame is not compared with it."""
        self._last = None

    @torch.no_grad()
    def frames(self, rgb: torch.Tensor, size: tuple[int, int], exact: bool = False) -> torch.Tensor:
        """Enhance N x 3 x H x W float32 on `device` to N x 3 x size[0] x size[1] (height, width) float32; black 0, white 1.

        Networks take and return [0, 1]; the classical baseline keeps values outside, which film has.
        A frame, or a part of one, that equals the previous frame gets the same result without being computed. The result
        may share memory with earlier results: do not write to it. Raises EnhanceError when the network returns NaN,
        infinity or black in fp32 too, or when memory is short at the smallest tile, and MemoryError when it is short for one
        frame and its result. `exact` requests fp32 whatever the precision: half floats have about 2,000 levels, fewer than a
        16-bit scan.
        """
        if exact != self._exact_mode:
            self.forget()
            self._exact_mode = exact
        self._count("frames", rgb.shape[0])
        counted, reused = self._events.copy(), self._reused
        try:
            with memory_errors():
                return self._enhanced(rgb, size)
        except MemoryError as error:  # beside the network, whose own are met by smaller tiles
            cause = error
        # What was reused is counted once; the same frames come again.
        self._events, self._reused = counted, reused
        self._count("out_of_memory")
        self.forget()
        try:
            with memory_errors():
                # Each frame's result is used before the next is asked for, if that is all that fits.
                return torch.cat([self._enhanced(rgb[n : n + 1], size).cpu() for n in range(rgb.shape[0])]).to(
                    rgb.device
                )
        except MemoryError:
            height, width = size
            raise MemoryError(  # not the frame's fault: another worker may have more
                f"generator {self.name} has too little memory on {self.device} for a result of {width}x{height} pixels; "
                "use a device with more memory, stop other programs on it, or ask for a smaller --scale."
            ) from cause

    def _enhanced(self, rgb: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Enhance as `frames` does; raise MemoryError where what goes in or comes out does not fit."""
        clips = self.architecture.clips
        low, high = (0.0, 1.0) if clips else (min(0.0, float(rgb.min())), max(1.0, float(rgb.max())))
        height, width = rgb.shape[-2:]
        multiple = self.architecture.multiple
        inputs = _pad(rgb.clamp(0, 1) if clips else rgb, -height % multiple, -width % multiple)
        work = self._plan(inputs)
        fresh = self._fresh(inputs, work, low, high)
        results = []
        for n, boxes in enumerate(work):
            one = inputs[n : n + 1]
            native = next(fresh) if boxes is None else self._patched(one, boxes, low, high)
            self._last = self._finished(one, native, (height * self.scale, width * self.scale), size, low, high)
            results.append(self._last.result)
        return results[0] if len(results) == 1 else torch.cat(results)

    def _count(self, event: str, by: int = 1) -> None:
        self._events[event] = self._events.get(event, 0) + by

    def _plan(self, inputs: torch.Tensor) -> list[list[Box] | None]:
        """Return for each frame the boxes to compute, which cover all effects of its differences; None for the whole frame."""
        plan: list[list[Box] | None] = []
        before = self._last.inputs if self._last is not None else None
        for n in range(inputs.shape[0]):
            now = inputs[n : n + 1]
            if before is None or before.shape != now.shape:
                plan.append(None)
            elif self.architecture.exact and not self._on_card:
                plan.append(changed_boxes(before, now, self.halo))
            else:
                plan.append([] if torch.equal(before, now) else None)
            before = now
        return plan

    def _fresh(
        self, inputs: torch.Tensor, plan: list[list[Box] | None], low: float, high: float
    ) -> Iterator[torch.Tensor]:
        """Return the network's clipped results for the frames to compute whole, processed as one batch."""
        wanted = [n for n, boxes in enumerate(plan) if boxes is None]
        if not wanted:
            return iter(())
        batch = inputs if len(wanted) == inputs.shape[0] else inputs[wanted]
        native = self._box(batch, (0, 0, *batch.shape[-2:]), None, low, high)
        return iter([native[n : n + 1] for n in range(len(wanted))])

    def _patched(self, inputs: torch.Tensor, boxes: list[Box], low: float, high: float) -> torch.Tensor:
        """Return the last frame's result with `boxes` computed again."""
        assert self._last is not None, "only a frame with a previous frame is patched"
        height, width = inputs.shape[-2:]
        self._reused += 1 - sum((b - t) * (r - le) for t, le, b, r in boxes) / (height * width)
        if not boxes:
            self._count("frames_reused")
            return self._last.native
        self._count("frames_patched")
        native = self._last.native.clone()
        for box in boxes:
            self._box(inputs, box, native, low, high)
        return native

    def _finished(
        self,
        inputs: torch.Tensor,
        native: torch.Tensor,
        full: tuple[int, int],
        size: tuple[int, int],
        low: float,
        high: float,
    ) -> _Last:
        """Crop `native` to `full`, its size without padding, and resize it to `size`; reuse the last result if it is the same."""
        last = self._last
        if last is not None and native is last.native and (last.full, last.size) == (full, size):
            return last
        result = native[..., : full[0], : full[1]]
        if result.shape[-2:] != size:
            result = resize(result, size).clamp_(low, high)
        return _Last(inputs, native, full, size, result)

    def _box(
        self, inputs: torch.Tensor, box: Box, native: torch.Tensor | None, low: float, high: float
    ) -> torch.Tensor:
        """Fill `box` (input pixels) of `native`, in tiles that fit the memory; keep smaller tiles after an out-of-memory error.

        Without a `native`, `box` is all of `inputs` and the result is a new tensor: the network's own if a single tile covers it.
        """
        height, width = inputs.shape[-2:]
        s = self.scale
        size = self._tile_size(inputs)
        while True:
            parts = list(tiles(box, size, height, width, self.architecture))
            whole = native is None and len(parts) == 1 and self.architecture.clips
            if native is None and not whole:
                native = inputs.new_empty((inputs.shape[0], 3, height * s, width * s))
            try:
                if native is None:
                    native = self._tile(inputs, parts[0]).clamp_(low, high)
                    parts = []
                for tile in parts:
                    top, left, bottom, right = tile.inner
                    target = native[..., top * s : bottom * s, left * s : right * s]
                    torch.clamp(self._tile(inputs, tile), low, high, out=target)
                self._used = max(self._used, min(size, max(box[2] - box[0], box[3] - box[1])))
                return native
            except MemoryError as error:
                size = self._halved(min(size, max(height, width)), error)

    def _tile_size(self, inputs: torch.Tensor) -> int:
        """Return the side in input pixels of the largest part to process at once."""
        return min(t for t in (self._wanted or self._largest_tile(inputs), self._limit) if t)

    def _largest_tile(self, inputs: torch.Tensor) -> int:
        free = self._free(inputs.device) // inputs.shape[0]
        half = self._on_card and not self._exact_mode and self.precision in ("fp16", "bf16")
        return largest_tile(inputs.shape[-2], inputs.shape[-1], self.architecture, free, 2 if half else 4)

    def _halved(self, size: int, error: MemoryError) -> int:
        half = size // 2 // 8 * 8
        if half < SMALLEST:
            raise EnhanceError(
                f"generator {self.name} runs out of memory on {self.device} even with tiles of {size} pixels; "
                "use a device with more memory or stop other programs on it."
            ) from error
        _log.warning("generator %s runs out of memory with tiles of %d; continuing with %d", self.name, size, half)
        self._count("out_of_memory")
        self._limit = half
        return half

    def _tile(self, inputs: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Return the network's result for the part that `tile` owns: N x 3 x h x w, checked, not yet clipped."""
        t, le, b, r = tile.outer
        part = inputs[..., t:b, le:r]
        self._network.checkpoint()
        in_fp32 = self._exact_mode and self.precision != "fp32" and self._make_exact is not None
        result = self._run(self._fp32_network() if in_fp32 else self._network, part)
        self._count("network_calls")
        faults = faults_of(part, result)
        wrong = [n for n, fault in enumerate(faults) if fault]
        if wrong and self._make_exact is not None and not in_fp32:
            named = ", ".join(sorted({faults[n] for n in wrong}))
            _log.warning("generator %s returns %s in %s; trying again in fp32", self.name, named, self.precision)
            self._count("retried_in_fp32", len(wrong))
            result[wrong] = again = self._run(self._fp32_network(), part[wrong])
            faults = faults_of(part[wrong], again)
        if fault := next((fault for fault in faults if fault), ""):
            raise EnhanceError(
                f"generator {self.name} returns {fault} for a part of {r - le}x{b - t} pixels, in fp32 too; "
                "check the weights with `respool models verify`."
            )
        top, left, bottom, right = tile.inner
        s = self.scale
        return result[..., (top - t) * s : (bottom - t) * s, (left - le) * s : (right - le) * s]

    def _run(self, network: Network, part: torch.Tensor) -> torch.Tensor:
        """Return the network's result for `part`."""
        return network(self._filled(part))[: part.shape[0]]

    def _filled(self, part: torch.Tensor) -> torch.Tensor:
        """Repeat, on a card, the last frame up to the next power of two, so that a batch of which some frames are reused is of few sizes."""
        count = part.shape[0]
        missing = (1 << (count - 1).bit_length()) - count if self._on_card else 0
        return torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part

    def _fp32_network(self) -> Network:
        """Return the same network in fp32, built at the first call and kept."""
        if self._exact is None:
            self._exact = self._make_exact() if self._make_exact is not None else self._network
            self._exact.checkpoint = self._network.checkpoint
        return self._exact


def _pad(rgb: torch.Tensor, bottom: int, right: int) -> torch.Tensor:
    """Pad by mirroring without repeating the edge, as upstream does, or by repeating the edge where the image is too small."""
    if not bottom and not right:
        return rgb
    mirrored = rgb.shape[-2] > bottom and rgb.shape[-1] > right
    return torch.nn.functional.pad(rgb, (0, right, 0, bottom), "reflect" if mirrored else "replicate")
