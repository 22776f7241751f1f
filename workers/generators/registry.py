"""Every family of generators, in one explicit list, and how a job's spec becomes a loaded one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors

from contract.errors import UsageError, WeightsError
from contract.job import Spec, Weights
from contract.settings import Settings
from workers.generators import identity, lanczos, rrdbnet, srvgg
from workers.generators.enhancer import Enhancer
from workers.generators.network import Architecture, Network, Parameters
from workers.generators.torch_backend import TorchNetwork, pick_device

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Family:
    """How one architecture is described and built from its parameters and weights."""

    describe: Callable[[str, Parameters], Architecture]
    module: Callable[[str, Parameters, State], torch.nn.Module]


FAMILIES = {
    "rrdbnet": Family(rrdbnet.describe, rrdbnet.module),
    "srvgg": Family(srvgg.describe, srvgg.module),
}

WEIGHTLESS = ("identity", "lanczos")


def load(spec: Spec, paths: Mapping[str, Path], settings: Settings) -> Enhancer:
    """Load the generator of `spec`; `paths` maps the SHA-256 of each of `spec.weights` to a local file.

    Raises UsageError for a model, device or precision that cannot be had, WeightsError when a file is not the pinned bytes or does
    not fit its architecture.
    """
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if spec.model == "identity":
        return Enhancer(identity.ARCHITECTURE, identity.Identity(device), "frames are not touched", identity=True)
    if spec.model == "lanczos":
        scale = _lanczos_scale(spec.scale)
        return Enhancer(lanczos.architecture(scale), lanczos.Lanczos(scale, device), "no network", spec.tile)
    entry = _entry(spec, "generator")
    family = FAMILIES.get(entry.architecture)
    if family is None:
        raise WeightsError(
            f"weights {entry.name} are for {entry.architecture!r}, which is none of {', '.join(FAMILIES)}; choose another model."
        )
    state = _state(spec, entry, paths)
    description = family.describe(entry.name, entry.parameters)

    def build(precision: str) -> Network:
        try:
            module = family.module(entry.name, entry.parameters, state)
        except RuntimeError as error:
            raise WeightsError(
                f"weights {entry.name} do not fit {entry.architecture} with the catalog's parameters: {str(error).splitlines()[-1].strip()}"
            ) from error
        return TorchNetwork(module, device, precision)

    precision = spec.precision
    if precision == "auto":
        precision = "fp16" if device.type in ("cuda", "mps") else "fp32"
    network = build(precision)
    return Enhancer(
        description,
        network,
        "torch",
        spec.tile,
        exact=None if precision == "fp32" else lambda: build("fp32"),
    )


def _lanczos_scale(scale: float | None) -> int:
    if scale is None:
        return 4
    return int(scale) if scale == int(scale) else 1


def _entry(spec: Spec, role: str) -> Weights:
    for entry in spec.weights:
        if entry.role == role:
            return entry
    raise UsageError(f"the job pins no {role} weights for model {spec.model!r}; see `respool models list`.")


def _state(spec: Spec, entry: Weights, paths: Mapping[str, Path]) -> State:
    """The generator's weights, mixed with its wdn twin's when a denoise strength is asked for.

    Deep network interpolation as upstream's inference script does it: strength s is s times the generator's
    weights plus 1 - s times the twin's, which removes less noise.
    """
    state = _read(entry, paths)
    if spec.denoise is None or spec.denoise == 1:
        return state
    twin = _read(_entry(spec, "denoise"), paths)
    if {k: v.shape for k, v in twin.items()} != {k: v.shape for k, v in state.items()}:
        raise WeightsError(
            f"weights {entry.name} and their wdn twin differ in shape and cannot be mixed; verify the catalog."
        )
    return {k: spec.denoise * v + (1 - spec.denoise) * twin[k] for k, v in state.items()}


def _read(entry: Weights, paths: Mapping[str, Path]) -> State:
    path = paths.get(entry.sha256)
    if path is None:
        raise WeightsError(f"weights {entry.name} ({entry.sha256[:12]}) were not fetched; submit the job again.")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise WeightsError(
            f"weights {entry.name} in {path} have SHA-256 {found}, but the job pins {entry.sha256}; fetch them again."
        )
    try:
        return {k: v.float() for k, v in load_safetensors(data).items()}
    except Exception as error:  # safetensors' own class is private to its Rust side
        raise WeightsError(
            f"weights {entry.name} in {path} are not a safetensors file: {error}; fetch them again."
        ) from error
