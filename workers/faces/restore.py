"""The networks that restore aligned faces, and the restorer that runs one of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from contract.errors import EnhanceError, WeightsError
from workers.generators import compat
from workers.generators.memory import memory_errors
from workers.generators.network import Parameters, integer_parameter

BATCH = 8
"""Faces restored at once on a GPU. A face takes about 0.7 GB in fp32; on a CPU, one at a time is as fast."""


class GFPGAN(torch.nn.Module):
    """GFPGANv1Clean, which maps faces to restored faces.

    Wang, Li et al., "Towards Real-World Blind Face Restoration with Generative Facial Prior", CVPR 2021. It is built
    directly, because GFPGANer downloads files when it is created and hides errors when it runs. Its noise is the fixed noise of the
    checkpoint, so that equal faces give equal results.
    """

    def __init__(self, name: str, parameters: Parameters) -> None:
        """Raise WeightsError for parameters out of range, TypeError for unknown ones."""
        super().__init__()
        self.size = integer_parameter(name, parameters, "out_size", 32, 1024)
        clean = compat.load("gfpgan.archs.gfpganv1_clean_arch").GFPGANv1Clean
        self.network = clean(**{"decoder_load_path": None, **parameters})

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Restore N x 3 x size x size in [0, 1]; the result has the same shape and is not clamped."""
        result: torch.Tensor = self.network(faces * 2 - 1, return_rgb=False, randomize_noise=False)[0]
        return (result + 1) / 2


class RestoreFormer(torch.nn.Module):
    """RestoreFormer, which maps faces to restored faces (Wang, Zhang et al., CVPR 2022; the class in the package gfpgan)."""

    def __init__(self, name: str, parameters: Parameters) -> None:
        """Raise WeightsError for parameters out of range, TypeError for unknown ones."""
        super().__init__()
        self.size = integer_parameter(name, parameters, "resolution", 32, 1024, default=512)
        former = compat.load("gfpgan.archs.restoreformer_arch").RestoreFormer
        self.network = former(**parameters)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Restore N x 3 x size x size in [0, 1]; the result has the same shape and is not clamped."""
        result: torch.Tensor = self.network(faces * 2 - 1)[0]
        return (result + 1) / 2


FAMILIES: dict[str, type[GFPGAN] | type[RestoreFormer]] = {"gfpgan": GFPGAN, "restoreformer": RestoreFormer}


class Restorer:
    """A loaded restorer of `size` x `size` faces on `device`. Not thread-safe."""

    def __init__(self, name: str, module: torch.nn.Module, size: int, device: torch.device) -> None:
        self.name, self.size, self.device = name, size, device
        self._module = module.eval().requires_grad_(False).to(device)
        self._at = device
        self._batch = 1 if device.type == "cpu" else BATCH
        self.retries: list[str] = []

    def __call__(self, faces: torch.Tensor) -> torch.Tensor:
        """Restore N x 3 x size x size float32 RGB in [0, 1]; the result has the same shape and is clamped.

        When memory is short it continues with fewer faces at once, then on the CPU, and notes that in `retries`.
        Raises EnhanceError when that fails too, or when the network returns NaN: an unrestored face is never returned
        as a restored one.
        """
        done: list[torch.Tensor] = []
        while (first := sum(part.shape[0] for part in done)) < faces.shape[0]:
            part = faces[first : first + self._batch]
            try:
                result = self._run(part)
            except MemoryError as error:
                self._smaller(part.shape[0], error)
                continue
            if not torch.isfinite(result).all():
                raise EnhanceError(
                    f"face restorer {self.name} returns NaN or infinity on {self._at}; "
                    "check its weights with `respool models verify`."
                )
            done.append(result.clamp(0, 1).to(faces.device))
        return torch.cat(done)

    @torch.no_grad()
    def _run(self, faces: torch.Tensor) -> torch.Tensor:
        with memory_errors():
            result: torch.Tensor = self._module(faces.to(self._at))
            return result

    def _smaller(self, tried: int, error: MemoryError) -> None:
        if tried > 1:
            self._batch = tried // 2
            self.retries.append(f"out of memory with {tried} faces at once, continued with {self._batch}")
        elif self._at.type != "cpu":
            self.retries.append(f"out of memory with one face on {self.device}, continued on the CPU")
            self._at = torch.device("cpu")
            self._module.to(self._at)
        else:
            raise EnhanceError(
                f"face restorer {self.name} runs out of memory with a single face; "
                "stop other programs on this machine, or leave out --face-enhance."
            ) from error


def build(
    name: str, architecture: str, parameters: Parameters, state: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Module, int]:
    """Build the module of `architecture` with the weights `state`; return it and the side of its faces in pixels.

    Raises WeightsError when architecture, parameters and weights do not fit.
    """
    family = FAMILIES.get(architecture)
    if family is None:
        raise WeightsError(f"weights {name} are for {architecture!r}, which is not a face restorer; choose GFPGANv1.4.")
    try:
        module = family(name, parameters)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"weights {name} have parameters that {architecture} does not take: {error}; correct the catalog entry."
        ) from error
    try:
        module.network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"weights {name} do not fit {architecture}: {str(error).splitlines()[-1].strip()}"
        ) from error
    return module, module.size
