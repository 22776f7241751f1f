"""The generator as the rest of the worker sees it: frames in, larger frames out, whatever the device says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import torch

from contract.errors import EnhanceError
from workers.generators.frame_diff import changed
from workers.generators.lanczos import resize
from workers.generators.network import Architecture, Network
from workers.generators.tiling import SMALLEST, Box, Tile, fitting, tiles

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Last:
    """The frame before: what was shown to the network (1 x 3 x H x W), what came out, how much of that is not padding, and
    that in the size asked for."""

    shown: torch.Tensor
    native: torch.Tensor
    full: tuple[int, int]
    size: tuple[int, int]
    result: torch.Tensor


class Enhancer:
    """A loaded generator. One for each worker process and set of weights; not thread-safe.

    `scale` is the network's own and `halo` its tiles' (input pixels); `identity` says that frames are to be
    passed by it untouched; `reason` says in words why `backend` and `precision` were chosen.
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
    ) -> None:
        """`tile` is the largest part of a frame (input pixels a side) to work on at once, 0 for what memory allows.

        `exact` makes the same network in fp32 for results that are broken; `free` tells the bytes free on a device.
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
        self._network = network
        self._make_exact = exact
        self._exact: Network | None = None
        self._in_full = False
        self._free = free or free_memory
        self._wanted = tile
        self._limit = 0  # what an out-of-memory taught; 0 is no limit
        self._used = 0
        self._events: dict[str, int] = {}
        self._reused = 0.0
        self._last: _Last | None = None

    def record(self) -> dict[str, object]:
        """What is worth keeping about the work since the last call; the counters start again at zero.

        `reused` is the share of all input pixels whose result was known already, `tile` the largest part worked on at
        once (input pixels a side).
        """
        events, self._events = self._events, {}
        reused, self._reused = self._reused, 0.0
        used = self._exact if self._in_full and self._exact is not None else self._network
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

    def forget(self) -> None:
        """Let go of the last frame: nothing that comes next is compared with it."""
        self._last = None

    @torch.no_grad()
    def frames(self, rgb: torch.Tensor, size: tuple[int, int], exact: bool = False) -> torch.Tensor:
        """Enhance N x 3 x H x W float32 on `device` to N x 3 x size[0] x size[1] (height, width) float32; black 0, white 1.

        Networks are shown [0, 1] and give [0, 1]; the classical baseline keeps values beyond, as film has them.
        A frame, or a part of one, that equals the frame before gets the same result without being computed. The result
        may share memory with results given before: do not write to it. Raises EnhanceError when the network gives NaN,
        infinity or black in fp32 too, or when memory is short at the smallest tile. `exact` asks for fp32 whatever the
        precision: half floats have some 2,000 levels, fewer than a 16-bit scan.
        """
        if exact != self._in_full:
            self.forget()
            self._in_full = exact
        self._count("frames", rgb.shape[0])
        clips = self.architecture.clips
        low, high = (0.0, 1.0) if clips else (min(0.0, float(rgb.min())), max(1.0, float(rgb.max())))
        height, width = rgb.shape[-2:]
        multiple = self.architecture.multiple
        shown = _pad(rgb.clamp(0, 1) if clips else rgb, -height % multiple, -width % multiple)
        work = self._plan(shown)
        fresh = self._fresh(shown, work, low, high)
        results = []
        for n, boxes in enumerate(work):
            one = shown[n : n + 1]
            native = next(fresh) if boxes is None else self._patched(one, boxes, low, high)
            self._last = self._finished(one, native, (height * self.scale, width * self.scale), size, low, high)
            results.append(self._last.result)
        return results[0] if len(results) == 1 else torch.cat(results)

    def _count(self, event: str, by: int = 1) -> None:
        self._events[event] = self._events.get(event, 0) + by

    def _plan(self, shown: torch.Tensor) -> list[list[Box] | None]:
        """For each frame what differs from the one before, with what that reaches: boxes, or None for all of it."""
        plan: list[list[Box] | None] = []
        before = self._last.shown if self._last is not None else None
        for n in range(shown.shape[0]):
            now = shown[n : n + 1]
            if before is None or before.shape != now.shape:
                plan.append(None)
            elif self.architecture.exact:
                plan.append(changed(before, now, self.halo))
            else:
                plan.append([] if torch.equal(before, now) else None)
            before = now
        return plan

    def _fresh(
        self, shown: torch.Tensor, plan: list[list[Box] | None], low: float, high: float
    ) -> Iterator[torch.Tensor]:
        """The network's results, clipped, of the frames that are made anew, worked on together."""
        wanted = [n for n, boxes in enumerate(plan) if boxes is None]
        if not wanted:
            return iter(())
        batch = shown if len(wanted) == shown.shape[0] else shown[wanted]
        native = self._box(batch, (0, 0, *batch.shape[-2:]), None, low, high)
        return iter([native[n : n + 1] for n in range(len(wanted))])

    def _patched(self, shown: torch.Tensor, boxes: list[Box], low: float, high: float) -> torch.Tensor:
        """The last frame's result with `boxes` made anew."""
        assert self._last is not None, "only a frame that has one before it is patched"
        height, width = shown.shape[-2:]
        self._reused += 1 - sum((b - t) * (r - le) for t, le, b, r in boxes) / (height * width)
        if not boxes:
            self._count("frames_reused")
            return self._last.native
        self._count("frames_patched")
        native = self._last.native.clone()
        for box in boxes:
            self._box(shown, box, native, low, high)
        return native

    def _finished(
        self,
        shown: torch.Tensor,
        native: torch.Tensor,
        full: tuple[int, int],
        size: tuple[int, int],
        low: float,
        high: float,
    ) -> _Last:
        """`native` without what was padded (`full` is what remains) in the size asked for; not resized twice."""
        last = self._last
        if last is not None and native is last.native and (last.full, last.size) == (full, size):
            return last
        result = native[..., : full[0], : full[1]]
        if result.shape[-2:] != size:
            result = resize(result, size).clamp_(low, high)
        return _Last(shown, native, full, size, result)

    def _box(self, shown: torch.Tensor, box: Box, native: torch.Tensor | None, low: float, high: float) -> torch.Tensor:
        """Fill `box` (input pixels) of `native`, in tiles that fit the memory; what an out-of-memory teaches is remembered.

        Without a `native`, `box` is all of `shown`, and the result is new: the network's own where it is made in one piece.
        """
        height, width = shown.shape[-2:]
        s = self.scale
        size = min(t for t in (self._wanted or self._fitting(shown), self._limit) if t)
        while True:
            try:
                parts = list(tiles(box, size, height, width, self.architecture))
                if native is None and len(parts) == 1 and self.architecture.clips:
                    native = self._tile(shown, parts[0]).clamp_(low, high)
                    parts = []
                elif native is None:
                    native = shown.new_empty((shown.shape[0], 3, height * s, width * s))
                for tile in parts:
                    top, left, bottom, right = tile.inner
                    target = native[..., top * s : bottom * s, left * s : right * s]
                    torch.clamp(self._tile(shown, tile), low, high, out=target)
                self._used = max(self._used, min(size, max(box[2] - box[0], box[3] - box[1])))
                return native
            except MemoryError as error:
                size = self._halved(min(size, max(height, width)), error)

    def _fitting(self, shown: torch.Tensor) -> int:
        free = self._free(shown.device) // shown.shape[0]
        return fitting(shown.shape[-2], shown.shape[-1], self.architecture, free)

    def _halved(self, size: int, error: MemoryError) -> int:
        half = size // 2 // 8 * 8
        if half < SMALLEST:
            raise EnhanceError(
                f"generator {self.name} runs out of memory on {self.device} even with tiles of {size} pixels; "
                "use a device with more memory or stop what else runs on it."
            ) from error
        _log.warning("generator %s is out of memory with tiles of %d; going on with %d", self.name, size, half)
        self._count("out_of_memory")
        self._limit = half
        return half

    def _tile(self, shown: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The network's result for what `tile` owns: N x 3 x h x w, checked, not yet clipped."""
        t, le, b, r = tile.outer
        part = shown[..., t:b, le:r]
        in_full = self._in_full and self.precision != "fp32" and self._make_exact is not None
        result = (self._exactly() if in_full else self._network)(part)
        self._count("network_calls")
        fault = _fault(part, result)
        if fault and self._make_exact is not None and not in_full:
            _log.warning("generator %s gives %s in %s; trying again in fp32", self.name, fault, self.precision)
            self._count("retried_in_fp32")
            result = self._exactly()(part)
            fault = _fault(part, result)
        if fault:
            raise EnhanceError(
                f"generator {self.name} gives {fault} for a part of {r - le}x{b - t} pixels, in fp32 too; "
                "check the weights with `respool models verify`."
            )
        top, left, bottom, right = tile.inner
        s = self.scale
        return result[..., (top - t) * s : (bottom - t) * s, (left - le) * s : (right - le) * s]

    def _exactly(self) -> Network:
        """The same network in fp32, made when it is first wanted and kept."""
        if self._exact is None:
            self._exact = self._make_exact() if self._make_exact is not None else self._network
        return self._exact


def _pad(rgb: torch.Tensor, bottom: int, right: int) -> torch.Tensor:
    """Extend by mirroring without repeating the edge, as upstream does, or by repeating it where there is nothing to mirror."""
    if not bottom and not right:
        return rgb
    mirrored = rgb.shape[-2] > bottom and rgb.shape[-1] > right
    return torch.nn.functional.pad(rgb, (0, right, 0, bottom), "reflect" if mirrored else "replicate")


def _fault(rgb: torch.Tensor, result: torch.Tensor) -> str:
    """What is wrong with `result`: NaN, infinity, or a black picture from one that is not; empty when nothing is."""
    low, high = (float(v) for v in torch.aminmax(result))
    if low != low or high != high:
        return "NaN"
    if low == float("-inf") or high == float("inf"):
        return "infinity"
    # 1/255 and 8/255: what still rounds to black in eight bits, and what a viewer sees is not.
    if high < 1 / 255 and float(rgb.mean()) > 8 / 255:
        return "black"
    return ""


def free_memory(device: torch.device) -> int:
    """Bytes that may still be had on `device`, as the driver or the system tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
