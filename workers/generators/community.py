"""Any network that spandrel knows: the generators that a user brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from contract.errors import WeightsError
from workers.generators.network import Architecture, Parameters, State

_HALO = 64
"""Pixels: what keeps RRDB networks within 4 code values; of an unknown network no more can be said."""
_MEMORY = 4096
"""fp32 values for each input pixel: that of RRDBNet's tail with room to spare, for networks nobody has measured."""
_UNTILED = 1 << 20
"""A tile larger than any frame, for networks that look at the whole frame at once."""


@dataclass(frozen=True)
class Known:
    """A network as spandrel sees it."""

    architecture: str
    scale: int
    input_channels: int
    output_channels: int
    purpose: str
    half: bool
    tiling: bool
    multiple: int
    parameters: int
    descriptor: Any


def recognise(name: str, state: State) -> Known:
    """Let spandrel find out what `state` is the weights of; raise WeightsError when it does not know, or it is no image network."""
    from spandrel import ImageModelDescriptor, ModelLoader, ModelTiling, UnsupportedModelError

    tensors = {k: torch.from_numpy(v) for k, v in state.items()}
    try:
        found = ModelLoader(device="cpu").load_from_state_dict(tensors)
    except UnsupportedModelError as error:
        raise WeightsError(
            f"{name} is none of the networks that spandrel knows; ask its author for the architecture."
        ) from error
    except Exception as error:  # spandrel's detectors fail in any way on weights that only resemble a network
        raise WeightsError(
            f"{name} resembles a network that spandrel knows, but cannot be loaded ({error})."
        ) from error
    if not isinstance(found, ImageModelDescriptor):
        raise WeightsError(
            f"{name} is a {found.architecture.name}, which needs a mask; only networks from picture to picture are used."
        )
    if found.architecture.id == "GFPGAN":
        raise WeightsError(f"{name} is a GFPGAN; it restores faces, with --face-enhance, and is no generator.")
    sizes = found.size_requirements
    return Known(
        architecture=found.architecture.name,
        scale=found.scale,
        input_channels=found.input_channels,
        output_channels=found.output_channels,
        purpose=found.purpose,
        half=found.supports_half,
        tiling=found.tiling is ModelTiling.SUPPORTED,
        multiple=max(sizes.multiple_of, 1),
        parameters=sum(v.numel() for v in tensors.values()),
        descriptor=found,
    )


class _Channels(torch.nn.Module):
    """Shows RGB to a network of three channels, or each of R, G and B to a network of one."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.network = known.descriptor.model
        self._descriptor = known.descriptor
        self._grey = known.input_channels == 1

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        pictures = rgb.reshape(-1, 1, *rgb.shape[-2:]) if self._grey else rgb
        results = torch.cat([self._descriptor(p[None]) for p in pictures])
        return results.reshape(rgb.shape[0], 3, *results.shape[-2:])


def describe(name: str, parameters: Parameters, state: State) -> tuple[Architecture, torch.nn.Module, bool]:
    """The architecture, the network on the CPU, and whether it may run in fp16.

    Raises WeightsError when the weights are not what the catalog entry says.
    """
    known = recognise(name, state)
    if (known.input_channels, known.output_channels) not in ((3, 3), (1, 1)):
        raise WeightsError(
            f"{name} maps {known.input_channels} channels to {known.output_channels}; only RGB to RGB and grey to grey are used."
        )
    if parameters.get("scale", known.scale) != known.scale:
        raise WeightsError(
            f"{name} enlarges by {known.scale}, but the catalog says {parameters['scale']}; add the model again."
        )
    halo = _HALO if known.tiling else _UNTILED
    architecture = Architecture(name, known.scale, halo, False, known.multiple, _MEMORY, 0.0)
    return architecture, _Channels(known), known.half
