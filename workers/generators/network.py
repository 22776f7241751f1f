"""The interface of a network: an `Architecture` that describes it, and a call that maps frames to larger frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from contract.errors import WeightsError


@dataclass(frozen=True)
class Architecture:
    """Static description of a network.

    Sizes are in input pixels. `halo` is the number of surrounding pixels a tile needs on each side; `exact`
    means that the halo covers the whole receptive field, so that tiled and untiled results agree to the last bit of fp32
    arithmetic. Height and width must be divisible by `multiple` (pixel-unshuffle). `memory` is the
    peak number of fp32 values held for each input pixel, measured, and `flops` the floating point
    operations for each input pixel. `clips` means that the network handles only [0, 1]: inputs and outputs are
    clipped to that range; otherwise results stay within the input's range, or [0, 1] if that is wider.
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
    `device`, and returns N x 3 x H*scale x W*scale float32 on `device`, neither clamped nor checked. It raises
    MemoryError when the device has not enough memory for the size. `checkpoint` is called between layers where the
    backend has a place between layers, and raises to leave the frame unfinished; the next call starts anew.
    """

    backend: str
    checkpoint: Callable[[], None]
    device: torch.device
    precision: str

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge `rgb`; see the class for shapes, range and errors."""
        ...


def go_on() -> None:
    """Stop nothing: the checkpoint of a network that no job uses."""


Parameters = Mapping[str, int | float | str | bool]
State = Mapping[str, npt.NDArray[np.float32]]
"""A network's weights by their names in basicsr's state dict, as float32."""


def integer_parameter(
    name: str, parameters: Parameters, key: str, low: int, high: int, default: int | None = None
) -> int:
    """Return the integer parameter `key`; raise WeightsError unless it is within `low` .. `high`."""
    value = parameters.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise WeightsError(
            f"weights {name} have {key} = {value!r}, but an integer from {low} to {high} is needed; correct the catalog entry."
        )
    return value
