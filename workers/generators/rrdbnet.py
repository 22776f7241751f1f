"""RRDBNet: RealESRGAN_x4plus, RealESRNet_x4plus, x4plus_anime_6B and, after a pixel-unshuffle, x2plus and x1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workers.generators.basicsr_archs import architecture
from workers.generators.network import Architecture, Parameters, State, integer_parameter

if TYPE_CHECKING:
    import openvino

    from workers.generators.graph import Node
    from workers.generators.native.program import Program


HALO = 64
"""Pixels. The receptive field of 23 blocks reaches about 350; at 64 the largest error is within 4 code values of 255."""

_UNSHUFFLE = {4: 1, 2: 2, 1: 4}


def describe(name: str, parameters: Parameters) -> Architecture:
    """Return the architecture for basicsr's constructor arguments; raise WeightsError for invalid values."""
    scale = integer_parameter(name, parameters, "scale", 1, 4, default=4)
    blocks = integer_parameter(name, parameters, "num_block", 1, 64)
    features = integer_parameter(name, parameters, "num_feat", 1, 256, default=64)
    growth = integer_parameter(name, parameters, "num_grow_ch", 1, 256, default=32)
    factor = _UNSHUFFLE.get(scale, 1)
    dense = sum((features + i * growth) * (growth if i < 4 else features) for i in range(5))
    trunk = 3 * factor * factor * features + blocks * 3 * dense + features * features
    tail = 4 * features * features + 16 * (2 * features * features + 3 * features)
    return Architecture(
        name=name,
        scale=scale,
        halo=HALO * (1 if factor == 1 else factor),
        exact=False,
        multiple=factor,
        memory=3 * 16 * features // (factor * factor),
        flops=2 * 9 * (trunk + tail) / (factor * factor),
    )


def module(name: str, parameters: Parameters, state: State) -> torch.nn.Module:
    """Build basicsr's network and load the weights `state` into it."""
    network: torch.nn.Module = architecture("rrdbnet_arch", "RRDBNet")(
        num_in_ch=3,
        num_out_ch=3,
        scale=integer_parameter(name, parameters, "scale", 1, 4, default=4),
        num_feat=integer_parameter(name, parameters, "num_feat", 1, 256, default=64),
        num_block=integer_parameter(name, parameters, "num_block", 1, 64),
        num_grow_ch=integer_parameter(name, parameters, "num_grow_ch", 1, 256, default=32),
    )
    network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
    return network


def graph(name: str, parameters: Parameters, state: State, height: int, width: int) -> openvino.Model:
    """Build the network for OpenVINO, which is imported here because a GPU worker need not have it."""
    from workers.generators.graph import add, double, frame, leaky, model, named, scaled_sum, unshuffle

    x = frame(height, width)
    first = named(
        unshuffle(x, _UNSHUFFLE.get(integer_parameter(name, parameters, "scale", 1, 4, default=4), 1)),
        state,
        "conv_first",
    )
    y = first
    for block in range(integer_parameter(name, parameters, "num_block", 1, 64)):
        inner = y
        for dense in (1, 2, 3):
            inner = _dense(inner, state, f"body.{block}.rdb{dense}")
        y = scaled_sum(inner, _RESIDUAL, y)
    y = add(first, named(y, state, "conv_body"))
    y = leaky(named(double(y), state, "conv_up1"), _SLOPE)
    y = leaky(named(double(y), state, "conv_up2"), _SLOPE)
    return model(x, named(leaky(named(y, state, "conv_hr"), _SLOPE), state, "conv_last"))


_SLOPE = 0.2
_RESIDUAL = 0.2
"""Both as in basicsr's rrdbnet_arch.py."""


def _dense(x: Node, state: State, name: str) -> Node:
    from workers.generators.graph import join, leaky, named, scaled_sum

    parts = [x]
    for layer in (1, 2, 3, 4):
        parts.append(leaky(named(join(parts), state, f"{name}.conv{layer}"), _SLOPE))
    return scaled_sum(named(join(parts), state, f"{name}.conv5"), _RESIDUAL, x)


def program(name: str, parameters: Parameters, state: State) -> Program:
    """Build the network for the native backend, which is imported here because no other backend needs it.

    A dense block's input channels (x) and the channels it adds lie in two buffers, so that nothing is concatenated. The factor 0.2
    of a residual is multiplied into the weights before it, as no activation follows them.
    """
    from workers.generators.native.program import Convolution, Program, Slice

    scale = integer_parameter(name, parameters, "scale", 1, 4, default=4)
    features = integer_parameter(name, parameters, "num_feat", 1, 256, default=64)
    growth = integer_parameter(name, parameters, "num_grow_ch", 1, 256, default=32)
    factor = _UNSHUFFLE.get(scale, 1)

    def step(
        key: str, inputs: tuple[Slice, ...], output: Slice, gain: float = 1.0, slope: float | None = None,
        residuals: tuple[tuple[Slice, float], ...] = (), double: bool = False,
    ) -> Convolution:  # fmt: skip
        slopes = None if slope is None else np.full(output.channels, slope, np.float32)
        weight, bias = state[f"{key}.weight"] * np.float32(gain), state[f"{key}.bias"] * np.float32(gain)
        return Convolution(inputs, output, weight, bias, slopes, residuals, double)

    held = [Slice(f"x{i}", 0, features) for i in range(3)]
    first = Slice("first", 0, features)
    body = [step("conv_first", (Slice("in", 0, 3 * factor * factor),), first)]
    now = first
    for block in range(integer_parameter(name, parameters, "num_block", 1, 64)):
        start = now
        for dense in (1, 2, 3):
            key = f"body.{block}.rdb{dense}"
            for layer in range(4):
                grown = (Slice("grown", 0, layer * growth),) if layer else ()
                body.append(
                    step(f"{key}.conv{layer + 1}", (now, *grown), Slice("grown", layer * growth, growth), 1.0, _SLOPE)
                )
            free = next(s for s in held if s not in (now, start))
            inputs = (now, Slice("grown", 0, 4 * growth))
            if dense < 3:
                body.append(step(f"{key}.conv5", inputs, free, _RESIDUAL, residuals=((now, 1.0),)))
            else:
                rest = ((now, _RESIDUAL), (start, 1.0))
                body.append(step(f"{key}.conv5", inputs, free, _RESIDUAL * _RESIDUAL, residuals=rest))
            now = free
    free = next(s for s in held if s != now)
    body.append(step("conv_body", (now,), free, residuals=((first, 1.0),)))
    up1, up2, fine, out = (
        Slice("up1", 0, features),
        Slice("up2", 0, features),
        Slice("fine", 0, features),
        Slice("out", 0, 3),
    )
    tail = (
        step("conv_up1", (free,), up1, slope=_SLOPE, double=True),
        step("conv_up2", (up1,), up2, slope=_SLOPE, double=True),
        step("conv_hr", (up2,), fine, slope=_SLOPE),
        step("conv_last", (fine,), out),
    )
    channels = {s.buffer: s.channels for s in (*held, first, up1, up2, fine, out)}
    channels |= {"in": 3 * factor * factor, "grown": 4 * growth}
    return Program(scale, channels, tuple(body), tail, _TAIL_REACH, factor)


_TAIL_REACH = 2
"""Rows, at the trunk's size, that the tail's four convolutions reach: 1/2 + 1/4 + 1/4 + 1/4 and the doubling's rounding."""
