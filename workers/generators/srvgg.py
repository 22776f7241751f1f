"""SRVGGNetCompact: realesr-animevideov3, realesr-general-x4v3 and its wdn twin. A row of 3x3 convolutions, then pixel-shuffle."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from workers.generators.basicsr_archs import architecture
from workers.generators.network import Architecture, Parameters, whole


def describe(name: str, parameters: Parameters) -> Architecture:
    """The architecture from basicsr's own argument names; raise WeightsError for values that make no network."""
    convolutions = whole(name, parameters, "num_conv", 1, 256)
    features = whole(name, parameters, "num_feat", 1, 1024)
    scale = whole(name, parameters, "upscale", 1, 8)
    outputs = 3 * scale * scale
    return Architecture(
        name=name,
        scale=scale,
        halo=convolutions + 2,  # every 3x3 convolution looks one pixel further: first, body, last
        exact=True,
        multiple=1,
        memory=2 * features + 3 * outputs,
        flops=2 * 9 * (3 * features + convolutions * features * features + features * outputs),
    )


def module(name: str, parameters: Parameters, state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """basicsr's network with the weights `state` in it."""
    network: torch.nn.Module = architecture("srvgg_arch", "SRVGGNetCompact")(
        num_in_ch=3,
        num_out_ch=3,
        num_feat=whole(name, parameters, "num_feat", 1, 1024),
        num_conv=whole(name, parameters, "num_conv", 1, 256),
        upscale=whole(name, parameters, "upscale", 1, 8),
        act_type=str(parameters.get("act_type", "prelu")),
    )
    network.load_state_dict(dict(state), strict=True)
    return network
