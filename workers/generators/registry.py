"""The explicit list of generator families, and the loading of the generator that a job's spec names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from contract.errors import UsageError, WeightsError
from contract.job import Spec, Weights
from contract.settings import Settings
from workers.card.proof import Proofs, has_triton
from workers.generators import community, identity, lanczos, rrdbnet, srvgg
from workers.generators.backend_race import (
    CARD_WORK,
    PROBE_WORK,
    Candidate,
    cache_key,
    choose,
    installed,
    subject_of,
    unavailable,
)
from workers.generators.cuda_graphs import fuser
from workers.generators.enhancer import Enhancer
from workers.generators.network import Architecture, Network, Parameters, State
from workers.generators.openvino_precisions import kept_precisions
from workers.generators.torch_backend import OFTEN, TorchNetwork, pick_device

if TYPE_CHECKING:
    import openvino

    from workers.generators.native.program import Program


@dataclass(frozen=True)
class Family:
    """Functions that describe and build one architecture from its weights' name, parameters and state.

    `any_shape` means that one compiled graph for all sizes is as fast as one for each.
    """

    describe: Callable[[str, Parameters], Architecture]
    module: Callable[[str, Parameters, State], torch.nn.Module]
    graph: Callable[[str, Parameters, State, int, int], openvino.Model]
    program: Callable[[str, Parameters, State], Program]
    any_shape: bool


FAMILIES = {
    "rrdbnet": Family(rrdbnet.describe, rrdbnet.module, rrdbnet.graph, rrdbnet.program, any_shape=False),
    "srvgg": Family(srvgg.describe, srvgg.module, srvgg.graph, srvgg.program, any_shape=True),
}
"""Families by the catalog's name of the architecture; the catalog also has ``spandrel``, for which see community.py."""


def load(spec: Spec, paths: Mapping[str, Path], settings: Settings) -> Enhancer:
    """Load the generator of `spec`; `paths` maps the SHA-256 of each of `spec.weights` to a local file.

    Raises UsageError for a model, device, backend or precision that is not available, and WeightsError when a file does not have
    the pinned hash or does not fit its architecture.
    """
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if spec.model == "identity":
        return Enhancer(identity.ARCHITECTURE, identity.Identity(device), "frames are not changed", identity=True)
    if spec.model == "lanczos":
        scale = _lanczos_scale(spec.scale)
        return Enhancer(lanczos.architecture(scale), lanczos.Lanczos(scale, device), "no network", spec.tile)
    entry = _entry(spec, "generator")
    state = _state(spec, entry, paths)
    if entry.architecture == "spandrel":
        return _community(spec, entry, state, device, settings)
    family = FAMILIES.get(entry.architecture)
    if family is None:
        known = ", ".join([*FAMILIES, "spandrel"])
        raise WeightsError(
            f"weights {entry.name} are for {entry.architecture!r}, which is not one of {known}; choose another model."
        )
    proofs = Proofs(device, settings.cache) if device.type == "cuda" and has_triton() else None
    candidates = _candidates(family, spec, entry, state, device, settings, proofs)
    subject = subject_of(entry, device, settings)
    facts = (
        entry.architecture,
        sorted(entry.parameters.items()),
        device.type,
        subject.device,
        torch.__version__,
        settings.threads,
    )
    architecture, network, reason = choose(candidates, subject, cache_key(*facts, *candidates), settings)
    chosen = f"{network.backend} {network.precision}"
    exact = _exact(network, lambda: _fp32_network(family, spec, entry, state, device, settings, chosen))
    if network.backend == "fused":
        from workers.generators.finishing import FinishingEnhancer

        return FinishingEnhancer(architecture, network, reason, spec.tile, exact=exact, proofs=proofs)
    return Enhancer(architecture, network, reason, spec.tile, exact=exact, proofs=proofs)


def _exact(network: Network, make: Callable[[], Network]) -> Callable[[], Network] | None:
    return None if network.precision == "fp32" and network.backend == "torch" else make


def _candidates(
    family: Family,
    spec: Spec,
    entry: Weights,
    state: State,
    device: torch.device,
    settings: Settings,
    proofs: Proofs | None,
) -> list[Candidate]:
    """List the ways to run the network that device, settings and spec allow, fastest expected first; raise UsageError if none."""
    plain = family.describe(entry.name, entry.parameters)

    def in_torch(precision: str, work: float = PROBE_WORK, before: int = 0) -> Candidate:
        make = partial(_torch, family, entry, state, device, precision, settings)
        return Candidate("torch", precision, plain, make, work, before)

    if device.type == "cpu":
        options = _cpu_candidates(family, spec, entry, state, settings, plain)
        # torch is slower than the others wherever they run the same network on a CPU, so it runs only on request.
        if settings.backend == "torch" or not options:
            options.append(in_torch("fp32"))
        fitting = [w for w in options if settings.backend in ("auto", w.backend)]
        if spec.precision == "bf16" and all(w.precision != "bf16" for w in fitting):
            options.append(in_torch("bf16"))
    else:
        # fp32 is slower on every card, and there to hold fp16's result against.
        options = _fused_candidates(family, spec, entry, state, proofs, settings, plain)
        # Beside another backend fp16 is timed as a film's worker comes to run it, compiled; alone it need not be.
        often = OFTEN + 1 if options else 0
        options.append(in_torch("fp16", CARD_WORK, often))
        options += [in_torch(p, CARD_WORK) for p in (("fp32",) if spec.precision == "auto" else ("bf16", "fp32"))]
    chosen = [w for w in options if settings.backend in ("auto", w.backend) and spec.precision in ("auto", w.precision)]
    if not chosen:
        raise unavailable(settings.backend, spec.precision, device)
    return chosen


def _cpu_candidates(
    family: Family, spec: Spec, entry: Weights, state: State, settings: Settings, plain: Architecture
) -> list[Candidate]:
    options = []
    if installed("llvmlite"):
        options += _native_candidates(family, entry, state, settings, plain)
    if installed("openvino"):
        for precision in kept_precisions(settings.cache):

            def make(precision: str = precision) -> Network:
                return _openvino(family, spec, entry, state, settings, precision)

            options.append(Candidate("openvino", precision, plain, make))
    return options


def _native_candidates(
    family: Family, entry: Weights, state: State, settings: Settings, plain: Architecture
) -> list[Candidate]:
    from workers.generators.native.network import NativeNetwork, ways
    from workers.generators.native.program import adapted_architecture
    from workers.llvm.machine import vectors

    if vectors() is None:
        return []
    program = _program(family, entry, state)

    def candidate(backend: str, precision: str) -> Candidate:
        way = backend, precision
        own = adapted_architecture(plain, program, direct=way == ("native", "bf16"))
        return Candidate(*way, own, lambda: NativeNetwork(program, way, settings.threads, settings.cache))

    return [candidate(*way) for way in ways(program)]


def _fused_candidates(
    family: Family,
    spec: Spec,
    entry: Weights,
    state: State,
    proofs: Proofs | None,
    settings: Settings,
    plain: Architecture,
) -> list[Candidate]:
    """List the network of fused kernels where they are wanted, and proved on the card at hand."""
    if proofs is None or settings.backend not in ("auto", "fused") or spec.precision not in ("auto", "fp16"):
        return []
    from workers.generators.fused import proved_module

    program = _program(family, entry, state)
    module = proved_module(program, proofs)
    if module is None:
        return []
    make = partial(_fused_network, program, module, proofs.device)
    return [Candidate("fused", "fp16", plain, make, CARD_WORK)]


def _fused_network(program: Program, module: Callable[[], torch.nn.Module], device: torch.device) -> Network:
    """Make the module only when it is raced or used."""
    from workers.generators.fused import FusedNetwork

    return FusedNetwork(program, module(), device)


def _program(family: Family, entry: Weights, state: State) -> Program:
    try:
        return family.program(entry.name, entry.parameters, state)
    except KeyError as error:
        raise _mismatch(entry, f"{error} is missing.") from error


def _torch(
    family: Family, entry: Weights, state: State, device: torch.device, precision: str, settings: Settings
) -> Network:
    try:
        module = family.module(entry.name, entry.parameters, state)
    except RuntimeError as error:
        raise _mismatch(entry, str(error).splitlines()[-1].strip()) from error
    return TorchNetwork(module, device, precision, fuser=fuser(settings.cache))


def _fp32_network(
    family: Family, spec: Spec, entry: Weights, state: State, device: torch.device, settings: Settings, other: str
) -> Network:
    """Build the network in fp32, for inputs that half floats get wrong or have too few levels for.

    A network that is in fp32 already is built in another backend.
    """
    if (
        device.type == "cpu"
        and settings.backend in ("auto", "openvino")
        and other != "openvino fp32"
        and installed("openvino")
        and "fp32" in kept_precisions(settings.cache)
    ):
        return _openvino(family, spec, entry, state, settings, "fp32")
    return _torch(family, entry, state, device, "fp32", settings)


def _openvino(family: Family, spec: Spec, entry: Weights, state: State, settings: Settings, precision: str) -> Network:
    from workers.generators.openvino_backend import OpenvinoNetwork

    def graph(height: int, width: int) -> openvino.Model:
        try:
            return family.graph(entry.name, entry.parameters, state, height, width)
        except (KeyError, RuntimeError) as error:
            raise _mismatch(entry, str(error).splitlines()[0]) from error

    identity = ":".join([*(w.sha256 for w in spec.weights if w.role in ("generator", "denoise")), str(spec.denoise)])
    scale = family.describe(entry.name, entry.parameters).scale
    return OpenvinoNetwork(graph, scale, identity, precision, settings.threads, settings.cache, family.any_shape)


def _mismatch(entry: Weights, why: str) -> WeightsError:
    return WeightsError(f"weights {entry.name} do not fit {entry.architecture} with the catalog's parameters: {why}")


def _community(spec: Spec, entry: Weights, state: State, device: torch.device, settings: Settings) -> Enhancer:
    architecture, _, half = community.describe(entry.name, entry.parameters, state)
    on_card = device.type == "cuda"
    precisions = (["fp16", "fp32"] if half and on_card else ["fp32"]) if spec.precision == "auto" else [spec.precision]
    if settings.backend not in ("auto", "torch") or (precisions[0] == "fp16" and device.type == "cpu"):
        raise unavailable(settings.backend, precisions[0], device)

    def in_torch(precision: str) -> Network:
        module = community.describe(entry.name, entry.parameters, state)[1]
        return TorchNetwork(module, device, precision, fuser=fuser(settings.cache))

    candidates = [Candidate("torch", p, architecture, partial(in_torch, p)) for p in precisions]
    subject = subject_of(entry, device, settings)
    facts = (entry.sha256, device.type, subject.device, torch.__version__, settings.threads)
    _, network, reason = choose(candidates, subject, cache_key(*facts, *candidates), settings)
    return Enhancer(architecture, network, reason, spec.tile, exact=_exact(network, lambda: in_torch("fp32")))


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
    """Return the generator's weights, mixed with those of its weakly denoising twin if the spec has a denoise strength.

    This is deep network interpolation as in upstream's inference script: strength s is s times the generator's
    weights plus 1 - s times the twin's, which removes less noise.
    """
    state = _read(entry, paths)
    if spec.denoise is None or spec.denoise == 1:
        return state
    twin = _read(_entry(spec, "denoise"), paths)
    if {k: v.shape for k, v in twin.items()} != {k: v.shape for k, v in state.items()}:
        raise WeightsError(
            f"weights {entry.name} and their denoising twin differ in shape and cannot be mixed; verify the catalog."
        )
    strength = np.float32(spec.denoise)
    return {k: strength * v + (1 - strength) * twin[k] for k, v in state.items()}


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
        return {k: v.astype(np.float32, copy=False) for k, v in load_safetensors(data).items()}
    except SafetensorError as error:
        raise WeightsError(
            f"weights {entry.name} in {path} are not a safetensors file: {error}; fetch them again."
        ) from error
