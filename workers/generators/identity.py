"""The generator that does nothing: it proves the plumbing. Callers pass frames by it in their own pixel format."""

from __future__ import annotations

import torch

from workers.generators.network import Architecture

ARCHITECTURE = Architecture("identity", 1, 0, True, 1, 3, 0)


class Identity:
    """Gives back the tensor it was given."""

    backend = "none"
    precision = "exact"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb
