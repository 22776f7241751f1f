"""What a network is to the rest of the worker: data that describes it, and a call that maps frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from contract.errors import WeightsError


@dataclass(frozen=True)
class Architecture:
    """What is known of a network before it has seen a frame.

    Sizes are in input pixels. `halo` is how many pixels of surroundings a tile needs on each side; `exact`
    says that it covers the whole receptive field, so that tiled and untiled agree to the last bit of fp32
    arithmetic. `multiple` is what height and width must be divisible by (pixel-unshuffle). `memory` is the
    peak number of fp32 values held for each input pixel, measured, and `flops` the floating point
    operations for each input pixel. `clips` says that the network knows only [0, 1]: what comes in and goes out is
    clipped to that; otherwise results stay within the range of what came in, or [0, 1] if that is wider.
    """

    name: str
    scale: int
    halo: int
    exact: bool
    multiple: int
    memory: int
    flops: float
    clips: bool = True


class Network(Protocol):
    """A network, loaded on a device.

    The call takes N x 3 x H x W float32 in [0, 1], H and W multiples of the architecture's `multiple`, on
    `device`, and gives N x 3 x H*scale x W*scale float32 on `device`, neither clamped nor checked. It raises
    MemoryError when the device has not enough memory for the size.
    """

    backend: str
    device: torch.device
    precision: str

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor: ...


Parameters = Mapping[str, int | float | str | bool]
State = Mapping[str, npt.NDArray[np.float32]]
"""A network's weights by their names in basicsr's state dict, float32."""


def whole(name: str, parameters: Parameters, key: str, low: int, high: int, default: int | None = None) -> int:
    """The integer parameter `key`, within `low` .. `high`; raise WeightsError otherwise."""
    value = parameters.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise WeightsError(
            f"weights {name} say {key} = {value!r}, but a whole number from {low} to {high} is needed; correct the catalog entry."
        )
    return value
