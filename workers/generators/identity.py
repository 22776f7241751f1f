"""The identity generator: leaves frames untouched, to test everything around a network.

Callers skip it and keep frames in their own pixel format.
"""

from __future__ import annotations

import torch

from workers.generators.network import Architecture, go_on

ARCHITECTURE = Architecture("identity", 1, 0, True, 1, 3, 0)


class Identity:
    """A network that returns its input tensor unchanged."""

    backend = "none"
    precision = "exact"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.checkpoint = go_on

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Return `rgb` itself."""
        return rgb
