"""The networks of a run: generator, discriminator, and how weights get in and out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from contract.errors import UsageError
from contract.training import Run
from weights.architectures import state_shapes
from workers.generators import compat
from workers.generators.basicsr_archs import architecture
from workers.generators.network import State
from workers.generators.registry import FAMILIES

TRAINABLE = tuple(FAMILIES)
"""Architectures that can be trained, by the catalog's names."""


def generator(run: Run, weights: Path | None) -> torch.nn.Module:
    """Build the run's generator: with the parent's weights from a safetensors file, else from scratch, by the run's seed.

    Raises UsageError for an architecture that is not trained here.
    """
    if run.architecture not in FAMILIES:
        raise UsageError(
            f"{run.name} is to be a {run.architecture}, which is not trained here; choose a parent of {' or '.join(TRAINABLE)}."
        )
    family = FAMILIES[run.architecture]
    if weights is not None:
        state: State = {key: value.astype(np.float32, copy=False) for key, value in load_file(weights).items()}
    else:
        state = _initial(run)
    return family.module(run.name, run.parameters, state).requires_grad_(True).train()


def _initial(run: Run) -> State:
    """Make a new network as basicsr's classes initialise it, drawn from the run's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.recipe.seed)
        module, name = {"rrdbnet": ("rrdbnet_arch", "RRDBNet"), "srvgg": ("srvgg_arch", "SRVGGNetCompact")}[
            run.architecture
        ]
        network: torch.nn.Module = architecture(module, name)(**run.parameters)
    expected = state_shapes(run.architecture, run.parameters)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    assert expected is not None
    assert {key: value.shape for key, value in state.items()} == expected
    return state


def discriminator(seed: int) -> torch.nn.Module:
    """Build the U-Net discriminator with spectral normalisation, drawn from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: torch.nn.Module = compat.load("realesrgan.archs.discriminator_arch").UNetDiscriminatorSN(3)
    return network.train()


def to_arrays(state: dict[str, Any]) -> State:
    """Return a state dict as float32 arrays, for a safetensors file."""
    return {key: value.detach().to("cpu", torch.float32).numpy() for key, value in state.items()}
