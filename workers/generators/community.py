"""Community generators: any network that a user adds and the library spandrel recognises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from contract.errors import WeightsError
from workers.generators.network import Architecture, Parameters, State

_HALO = 64
"""Pixels: keeps RRDB networks within 4 code values; for an unknown network there is no better estimate."""
_MEMORY = 4096
"""fp32 values for each input pixel: those of RRDBNet's tail with some to spare, for networks that have not been measured."""
_UNTILED = 1 << 20
"""Halo in pixels, larger than any frame, for networks that need the whole frame at once."""


@dataclass(frozen=True)
class Recognised:
    """A network as spandrel describes it."""

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


def recognise(name: str, state: State) -> Recognised:
    """Let spandrel recognise the network that `state` belongs to; raise WeightsError unless it is a known image network."""
    from spandrel import ImageModelDescriptor, ModelLoader, ModelTiling, UnsupportedModelError

    tensors = {k: torch.from_numpy(v) for k, v in state.items()}
    try:
        found = ModelLoader(device="cpu").load_from_state_dict(tensors)
    except UnsupportedModelError as error:
        raise WeightsError(
            f"{name} is not one of the networks that spandrel recognises; ask its author for the architecture."
        ) from error
    except Exception as error:  # spandrel's detectors raise any exception on weights that only resemble a network
        raise WeightsError(
            f"{name} resembles a network that spandrel recognises, but cannot be loaded ({error}); ask its author for an intact file."
        ) from error
    if not isinstance(found, ImageModelDescriptor):
        raise WeightsError(
            f"{name} is a {found.architecture.name}, which needs a mask; choose a network that maps an image to an image."
        )
    if found.architecture.id == "GFPGAN":
        raise WeightsError(
            f"{name} is a GFPGAN, which restores faces and is not a generator; use --face-enhance for it."
        )
    sizes = found.size_requirements
    return Recognised(
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
    """A wrapper that passes RGB to a network of three channels, or R, G and B one by one to a network of one channel."""

    def __init__(self, known: Recognised) -> None:
        super().__init__()
        self.network = known.descriptor.model
        self._descriptor = known.descriptor
        self._grey = known.input_channels == 1

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge `rgb`, N x 3 x H x W in [0, 1]."""
        pictures = rgb.reshape(-1, 1, *rgb.shape[-2:]) if self._grey else rgb
        results = torch.cat([self._descriptor(p[None]) for p in pictures])
        return results.reshape(rgb.shape[0], 3, *results.shape[-2:])


def describe(name: str, parameters: Parameters, state: State) -> tuple[Architecture, torch.nn.Module, bool]:
    """Return the architecture, the network on the CPU, and whether it may run in fp16.

    Raises WeightsError when the weights are not what the catalog entry says.
    """
    known = recognise(name, state)
    if (known.input_channels, known.output_channels) not in ((3, 3), (1, 1)):
        raise WeightsError(
            f"{name} maps {known.input_channels} channels to {known.output_channels}; "
            "choose a network that maps RGB to RGB or grey to grey."
        )
    if parameters.get("scale", known.scale) != known.scale:
        raise WeightsError(
            f"{name} enlarges by {known.scale}, but the catalog says {parameters['scale']}; add the model again."
        )
    halo = _HALO if known.tiling else _UNTILED
    architecture = Architecture(name, known.scale, halo, False, known.multiple, _MEMORY, 0.0)
    return architecture, _Channels(known), known.half
