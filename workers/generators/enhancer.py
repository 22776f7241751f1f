"""The generator as the rest of the worker sees it: frames in, larger frames out, whatever the device says."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch

from contract.errors import EnhanceError
from workers.generators.lanczos import resize
from workers.generators.network import Architecture, Network
from workers.tiling import SMALLEST, fitting, tiles


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
    ) -> None:
        """`tile` 0 means from free memory; `exact` makes the same network in fp32, for frames that come out broken."""
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
        self._exact = exact
        self._tile = tile
        self._largest = 0
        self._events: dict[str, int] = {}
        self._last: tuple[torch.Tensor, tuple[int, int], torch.Tensor] | None = None

    def record(self) -> dict[str, object]:
        """What is worth keeping about the work since the last call; the counters start again at zero."""
        events, self._events = self._events, {}
        return {
            "generator": self.name,
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "reason": self.reason,
            "tile": self._largest,
            **events,
        }

    def _count(self, event: str, by: int = 1) -> None:
        self._events[event] = self._events.get(event, 0) + by

    def frames(self, rgb: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Enhance N x 3 x H x W float32 on `device` to N x 3 x size[0] x size[1] (height, width) float32; black 0, white 1.

        Networks are shown [0, 1] and give [0, 1]; the classical baseline keeps values beyond, as film has them.
        A frame equal to the one before it gets the same result without being computed. Raises EnhanceError when
        the network gives NaN, infinity or black in fp32 too, or when memory is short at the smallest tile.
        """
        self._count("frames", rgb.shape[0])
        return torch.cat([self._frame(rgb[n : n + 1], size) for n in range(rgb.shape[0])])

    def _frame(self, rgb: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        if self._last is not None and self._last[1] == size and torch.equal(self._last[0], rgb):
            self._count("frames_reused")
            return self._last[2]
        low, high = (0.0, 1.0) if self.architecture.clips else (min(0.0, float(rgb.min())), max(1.0, float(rgb.max())))
        result = self._checked(rgb.clamp(0, 1) if self.architecture.clips else rgb)
        if result.shape[-2:] != size:
            result = resize(result, size)
        result = result.clamp(low, high)
        self._last = (rgb, size, result)
        return result

    def _checked(self, rgb: torch.Tensor) -> torch.Tensor:
        result = self._tiled(self._network, rgb)
        fault = _fault(rgb, result)
        if fault and self._exact is not None:
            self._count("retried_in_fp32")
            result = self._tiled(self._exact(), rgb)
            fault = _fault(rgb, result)
        if fault:
            raise EnhanceError(
                f"generator {self.name} gives {fault} for a frame of {rgb.shape[-1]}x{rgb.shape[-2]}, in fp32 too; "
                "check the weights with `respool models verify`."
            )
        return result

    def _tiled(self, network: Network, rgb: torch.Tensor) -> torch.Tensor:
        height, width = rgb.shape[-2:]
        multiple = self.architecture.multiple
        padded = _pad(rgb, -height % multiple, -width % multiple)
        tile = self._tile or fitting(padded.shape[-2], padded.shape[-1], self.architecture, _free(rgb.device))
        tile = min(t for t in (tile, self._largest, 1 << 30) if t)
        while True:
            try:
                result = self._pass(network, padded, tile)
                return result[..., : height * self.scale, : width * self.scale]
            except MemoryError as error:
                halved = min(tile, max(padded.shape[-2:])) // 2 // multiple * multiple
                if halved < SMALLEST:
                    raise EnhanceError(
                        f"generator {self.name} runs out of memory on {self.device} even with tiles of {tile} pixels; "
                        "use a device with more memory or stop what else runs on it."
                    ) from error
                tile = self._largest = halved
                self._count("out_of_memory")

    def _pass(self, network: Network, rgb: torch.Tensor, tile: int) -> torch.Tensor:
        height, width = rgb.shape[-2:]
        s = self.scale
        if tile >= max(height, width):
            return network(rgb)
        result = rgb.new_empty((rgb.shape[0], 3, height * s, width * s))
        for part in tiles(height, width, tile, self.architecture):
            top, left, bottom, right = part.inner
            t, le, b, r = part.outer
            shown = network(rgb[..., t:b, le:r])
            result[..., top * s : bottom * s, left * s : right * s] = shown[
                ..., (top - t) * s : (bottom - t) * s, (left - le) * s : (right - le) * s
            ]
            self._count("tiles")
        return result


def _pad(rgb: torch.Tensor, bottom: int, right: int) -> torch.Tensor:
    """Extend by mirroring without repeating the edge, as upstream does, or by repeating it where there is nothing to mirror."""
    if not bottom and not right:
        return rgb
    mirrored = rgb.shape[-2] > bottom and rgb.shape[-1] > right
    return torch.nn.functional.pad(rgb, (0, right, 0, bottom), "reflect" if mirrored else "replicate")


def _fault(rgb: torch.Tensor, result: torch.Tensor) -> str:
    """What is wrong with `result`: NaN, infinity, or a black frame from one that is not; empty when nothing is."""
    low, high = (float(v) for v in torch.aminmax(result))
    if low != low or high != high:
        return "NaN"
    if low == float("-inf") or high == float("inf"):
        return "infinity"
    # 1/255 and 8/255: what still rounds to black in eight bits, and what a viewer sees is not.
    if high < 1 / 255 and float(rgb.mean()) > 8 / 255:
        return "a black frame"
    return ""


def _free(device: torch.device) -> int:
    """Bytes that may still be had on `device`."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
