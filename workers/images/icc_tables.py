"""ICC profiles with tables, converted by the LittleCMS in libvips."""

from __future__ import annotations

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyvips
import torch

from media.images import vips
from workers.images.icc_curves import Interpretation


def tables(profile: bytes) -> tuple[Interpretation | None, str]:
    """Return the conversions of RGB pixels by a profile with tables; None and a reason if it has only one direction."""
    path = _file(profile)

    def to_srgb(x: torch.Tensor) -> torch.Tensor:
        return _transform(x, str(path), "srgb")

    def from_srgb(x: torch.Tensor) -> torch.Tensor:
        return _transform(x.clamp(0, 1), "srgb", str(path))

    probe = torch.tensor([0.2, 0.5, 0.8]).reshape(1, 3, 1, 1)
    try:
        from_srgb(to_srgb(probe))
    except pyvips.Error as error:
        return None, f"the ICC profile works in one direction only ({vips.sentence(error)}); pixels were taken as sRGB"
    return Interpretation(to_srgb, from_srgb), ""


def _file(profile: bytes) -> Path:
    """Write the profile to a file that lasts as long as the process, as LittleCMS takes profiles by file name."""
    path = Path(_folder().name, hashlib.sha256(profile).hexdigest() + ".icc")
    if not path.exists():
        path.write_bytes(profile)
    return path


@lru_cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="respool-icc-")


def _transform(x: torch.Tensor, source: str, target: str) -> torch.Tensor:
    """Convert 1 x 3 x H x W float32 in [0, 1] between two profiles, relative colorimetric, with 16 bits a sample."""
    levels = (x[0].permute(1, 2, 0) * 65535).round().to(torch.int32).cpu().numpy().astype(np.uint16)
    image = pyvips.Image.new_from_memory(levels.tobytes(), levels.shape[1], levels.shape[0], 3, "ushort")
    image = image.copy(interpretation="rgb16")
    converted = image.icc_transform(target, input_profile=source, embedded=False, depth=16, intent="relative")
    data = np.frombuffer(converted.write_to_memory(), np.uint16).reshape(levels.shape)
    return (torch.from_numpy(data.astype(np.float32)) / 65535).permute(2, 0, 1)[None].to(x.device)
