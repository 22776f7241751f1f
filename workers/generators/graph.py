"""The OpenVINO operations that the generators use."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops

from workers.generators.network import State

Node: TypeAlias = Any
"""An openvino.Output; the package ships no types for it."""


def frame(height: int, width: int) -> Node:
    """Return the input node: 1 x 3 x `height` x `width`, float32; -1 means any."""
    return ops.parameter(openvino.PartialShape([1, 3, height, width]), np.float32).output(0)


def convolution(x: Node, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None = None) -> Node:
    """Convolve with stride 1 and zero padding; the size stays."""
    pad = [weight.shape[-1] // 2] * 2
    y = ops.convolution(x, ops.constant(weight), [1, 1], pad, pad, [1, 1])
    return y.output(0) if bias is None else ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1))).output(0)


def named(x: Node, state: State, name: str) -> Node:
    """Convolve with the weight and bias that `state` has under `name`."""
    return convolution(x, state[f"{name}.weight"], state[f"{name}.bias"])


def leaky(x: Node, slopes: npt.NDArray[np.float32] | float) -> Node:
    """Return x where it is positive, and x times `slopes` (one, or one for each channel) elsewhere."""
    return ops.prelu(x, ops.constant(np.atleast_1d(np.asarray(slopes, np.float32)))).output(0)


def scaled_sum(x: Node, factor: float, y: Node) -> Node:
    """Return x * factor + y."""
    return ops.add(ops.multiply(x, ops.constant(np.float32(factor))), y).output(0)


def add(x: Node, y: Node) -> Node:
    """Return x + y."""
    return ops.add(x, y).output(0)


def join(parts: list[Node]) -> Node:
    """Concatenate channels."""
    return ops.concat(parts, 1).output(0) if len(parts) > 1 else parts[0]


def double(x: Node) -> Node:
    """Double the height and width by repeating each value."""
    return ops.interpolate(
        x,
        ops.constant(np.array([2, 2], np.float32)),
        "nearest",
        "scales",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=ops.constant(np.array([2, 3], np.int64)),
    ).output(0)


def shuffle(x: Node, factor: int) -> Node:
    """Move channels into space like torch's PixelShuffle."""
    return ops.depth_to_space(x, "depth_first", factor).output(0)


def unshuffle(x: Node, factor: int) -> Node:
    """Move space into channels like torch's (and basicsr's) pixel_unshuffle."""
    return x if factor == 1 else ops.space_to_depth(x, "depth_first", factor).output(0)


def model(x: Node, y: Node) -> openvino.Model:
    """Build the model from its input `x` and its result `y`."""
    return openvino.Model([ops.result(y)], [x.get_node()])
