"""Pinned weights for benches, from the catalog and the cache, as a job would pin them."""

from __future__ import annotations

import hashlib
import math
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from contract.job import Spec, Weights
from contract.settings import Settings
from weights import catalog
from weights.architectures import Parameters, state_shapes
from weights.fetch import cached, fetch
from weights.pin import describe


def pinned(model: str, settings: Settings) -> tuple[Weights, Path]:
    """Return the catalog's entry and its file, fetched when it is not here yet."""
    entry = catalog.load(settings).find(model)
    found = fetch(entry, settings)
    return describe(entry, found), found.path


def enhancer(model: str, settings: Settings, **fields: object) -> tuple[Spec, object]:
    """Build a spec for `model` with `fields`, and load its generator as a worker does."""
    from workers.generators.registry import load

    weights, path = pinned(model, settings)
    spec = Spec(model=weights.name, weights=(weights,), **fields)  # type: ignore[arg-type]
    return spec, load(spec, {weights.sha256: path}, settings)


def timed_enhancer(model: str, settings: Settings, **fields: object) -> tuple[str, object]:
    """Load the generator of `model`, with random weights where its own are not in the cache; return which they are.

    A network's time does not depend on its weights, and a lent card may have no network and little room to bring them.
    """
    from workers.generators.registry import load

    entry = catalog.load(settings).find(model)
    if cached(entry, settings):
        return "its weights", enhancer(model, settings, **fields)[1]
    data = save(_random_state(entry.architecture, entry.parameters))
    weights = Weights(
        "generator",
        entry.name,
        hashlib.sha256(data).hexdigest(),
        entry.architecture,
        entry.parameters,
        "CC0-1.0",
        "random numbers",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        path.write_bytes(data)
        spec = Spec(model=entry.name, weights=(weights,), **fields)  # type: ignore[arg-type]
        return "random weights", load(spec, {weights.sha256: path}, settings)


def _random_state(architecture: str, parameters: Parameters) -> dict[str, torch.Tensor]:
    """Draw weights with a fixed seed that keep a network's values near those of an image, so that its error can be measured."""
    shapes = state_shapes(architecture, parameters)
    if shapes is None:
        raise ValueError(f"the shapes of {architecture} are not known here; fetch the model's own weights.")
    generator = torch.Generator().manual_seed(1)

    def drawn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:  # biases, of which the last is mid-grey, and slopes
            return torch.full(shape, 0.5 if name == "conv_last.bias" else 0.0 if name.endswith("bias") else 0.25)
        # He et al. 2015 for layers with ReLU. Dense blocks add up, so their layers have a tenth, as where basicsr starts; the last brings
        # what is left of the growth to the range of an image.
        gain = 0.008 if name == "conv_last.weight" else 0.1 if ".rdb" in name else 1.0
        return gain * math.sqrt(2 / math.prod(shape[1:])) * torch.randn(shape, generator=generator)

    return {name: drawn(name, shape) for name, shape in shapes.items()}


def upstream(model: str, settings: Settings, folder: Path) -> object:
    """Build upstream's RealESRGANer with the same weights, as its video script does for this machine."""
    from workers.generators import compat
    from workers.generators.basicsr_archs import architecture

    weights, path = pinned(model, settings)
    upsampler = compat.load("realesrgan").RealESRGANer
    if weights.architecture == "srvgg":
        network = architecture("srvgg_arch", "SRVGGNetCompact")(**weights.parameters)
    else:
        network = architecture("rrdbnet_arch", "RRDBNet")(**weights.parameters)
    checkpoint = folder / "upstream.pth"
    torch.save({"params": load_file(path)}, checkpoint)
    return upsampler(scale=4, model_path=str(checkpoint), model=network, pre_pad=0, half=torch.cuda.is_available())
