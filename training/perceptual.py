"""Perceptual distances: of VGG19 features as in the paper, or of Laplacian pyramids, which need no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional

from contract.errors import WeightsError
from contract.settings import Settings
from contract.training import Perceptual
from weights import catalog, fetch

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Two N x 3 x H x W tensors in [0, 1] to a scalar."""

LAYERS = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}
"""Convolutions conv1_2, conv2_2, conv3_4, conv4_4, conv5_4 by their place in torchvision's VGG19, before ReLU, with the
paper's weights."""
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LEVELS = 4


def distance(kind: Perceptual, settings: Settings, device: torch.device) -> Distance:
    """Build a distance; raise WeightsError when VGG19's file is not here and cannot be fetched."""
    if kind == "laplacian":
        return laplacian
    return Vgg(vgg_file(settings)).to(device)


def vgg_file(settings: Settings) -> Path:
    """Return VGG19's file, fetched where that is possible; else raise WeightsError that says how to bring it."""
    entry = catalog.load(settings).find("VGG19", ("features",))
    try:
        return fetch.fetch(entry, settings).path
    except WeightsError as error:
        raise WeightsError(
            f"the perceptual loss needs {entry.file} (SHA-256 {entry.sources[0].sha256}), which is not here: run "
            f"`respool models fetch VGG19` where the network allows it or `respool models fetch VGG19 --from FILE`, "
            "or choose another loss with `--features laplacian`."
        ) from error


class Vgg(torch.nn.Module):
    """VGG19 up to its last convolution; L1 distances of five layers, weighted and added."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        from torchvision.models import vgg19  # type: ignore[import-untyped]

        network = vgg19(weights=None)
        state = load_file(file)
        network.load_state_dict(state)
        self._layers = network.features[: max(LAYERS) + 1].eval().requires_grad_(False)
        for layer in self._layers:
            if isinstance(layer, torch.nn.ReLU):
                layer.inplace = False  # the values before it are compared

    def forward(self, made: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the distance; gradients reach `made` alone."""
        mean, spread = (made.new_tensor(values)[None, :, None, None] for values in (_MEAN, _SPREAD))
        x, y = ((picture - mean) / spread for picture in (made, target.detach()))
        total = x.new_zeros(())
        for n, layer in enumerate(self._layers):
            x, y = layer(x), layer(y)
            if n in LAYERS:
                total = total + LAYERS[n] * functional.l1_loss(x, y)
        return total


def laplacian(made: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the L1 distance of Laplacian pyramids (Bojanowski et al., 2018): detail of each size counts alike."""
    total = made.new_zeros(())
    x, y = made, target.detach()
    for level in range(_LEVELS):
        if min(x.shape[2:]) < 4:
            break
        small_x, small_y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        detail = (x - _doubled(small_x, x)) - (y - _doubled(small_y, y))
        total = total + 2.0**level * detail.abs().mean()
        x, y = small_x, small_y
    return total + 2.0**_LEVELS * (x - y).abs().mean() / 8


def _doubled(small: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(small, size=like.shape[2:], mode="bilinear", align_corners=False)
