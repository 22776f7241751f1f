"""SRVGGNetCompact: realesr-animevideov3, realesr-general-x4v3 and its wdn twin. A row of 3x3 convolutions, then pixel-shuffle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from contract.errors import WeightsError
from workers.generators.basicsr_archs import architecture
from workers.generators.network import Architecture, Parameters, State, integer_parameter

if TYPE_CHECKING:
    import openvino

    from workers.generators.native.program import Program


def describe(name: str, parameters: Parameters) -> Architecture:
    """Return the architecture for basicsr's constructor arguments; raise WeightsError for invalid values."""
    convolutions = integer_parameter(name, parameters, "num_conv", 1, 256)
    features = integer_parameter(name, parameters, "num_feat", 1, 1024)
    scale = integer_parameter(name, parameters, "upscale", 1, 8)
    outputs = 3 * scale * scale
    return Architecture(
        name=name,
        scale=scale,
        halo=convolutions + 2,  # every 3x3 convolution reaches one pixel further: first, body, last
        exact=True,
        multiple=1,
        memory=2 * features + 3 * outputs,
        flops=2 * 9 * (3 * features + convolutions * features * features + features * outputs),
    )


def module(name: str, parameters: Parameters, state: State) -> torch.nn.Module:
    """Build basicsr's network and load the weights `state` into it."""
    network: torch.nn.Module = architecture("srvgg_arch", "SRVGGNetCompact")(
        num_in_ch=3,
        num_out_ch=3,
        num_feat=integer_parameter(name, parameters, "num_feat", 1, 1024),
        num_conv=integer_parameter(name, parameters, "num_conv", 1, 256),
        upscale=integer_parameter(name, parameters, "upscale", 1, 8),
        act_type=_activation(name, parameters),
    )
    network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
    return network


def graph(name: str, parameters: Parameters, state: State, height: int, width: int) -> openvino.Model:
    """Build the network for OpenVINO, which is imported here because a GPU worker need not have it."""
    from workers.generators.graph import add, convolution, frame, leaky, model, named, shuffle

    convolutions = integer_parameter(name, parameters, "num_conv", 1, 256)
    scale = integer_parameter(name, parameters, "upscale", 1, 8)
    activation = _activation(name, parameters)
    x = y = frame(height, width)
    last = 2 * convolutions + 2
    for layer in range(0, last, 2):
        slopes = state[f"body.{layer + 1}.weight"] if activation == "prelu" else _SLOPES[activation]
        y = leaky(named(y, state, f"body.{layer}"), slopes)
    # basicsr adds the input, with every pixel repeated, after the shuffle; adding it before the shuffle moves fewer bytes.
    repeat = np.repeat(np.eye(3, dtype=np.float32), scale * scale, axis=0)[:, :, None, None]
    y = add(named(y, state, f"body.{last}"), convolution(x, repeat))
    return model(x, shuffle(y, scale))


_SLOPES = {"relu": 0.0, "leakyrelu": 0.1}


def _activation(name: str, parameters: Parameters) -> str:
    kind = parameters.get("act_type", "prelu")
    if kind not in ("prelu", "relu", "leakyrelu"):
        raise WeightsError(
            f"weights {name} have act_type = {kind!r}, but prelu, relu or leakyrelu is needed; correct the catalog entry."
        )
    return str(kind)


def program(name: str, parameters: Parameters, state: State) -> Program:
    """Build the network for the native backend, which is imported here because no other backend needs it."""
    from workers.generators.native.program import Convolution, Program, Slice

    convolutions = integer_parameter(name, parameters, "num_conv", 1, 256)
    features = integer_parameter(name, parameters, "num_feat", 1, 1024)
    scale = integer_parameter(name, parameters, "upscale", 1, 8)
    activation = _activation(name, parameters)
    steps = []
    source = Slice("in", 0, 3)
    for layer in range(convolutions + 2):
        last = layer == convolutions + 1
        target = Slice("out", 0, 3 * scale * scale) if last else Slice("ab"[layer % 2], 0, features)
        slopes = None
        if not last:
            slopes = (
                np.full(features, _SLOPES[activation], np.float32)
                if activation != "prelu"
                else state[f"body.{2 * layer + 1}.weight"]
            )
        steps.append(
            Convolution((source,), target, state[f"body.{2 * layer}.weight"], state[f"body.{2 * layer}.bias"], slopes)
        )
        source = target
    channels = {"in": 3, "a": features, "b": features, "out": 3 * scale * scale}
    return Program(scale, channels, tuple(steps), shuffle=scale, base=True)
