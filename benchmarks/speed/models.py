"""Pinned weights for benches, from the catalog and the cache, as a job would pin them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from contract.job import Spec, Weights
from contract.settings import Settings
from weights import catalog
from weights.fetch import fetch
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
