"""Small networks with random weights, as basicsr's module and as a program of convolutions."""

from __future__ import annotations

import torch

from workers.generators import rrdbnet
from workers.generators.basicsr_archs import architecture
from workers.generators.native.program import Program


def small_rrdbnet(scale: int, features: int, growth: int) -> tuple[torch.nn.Module, Program]:
    """Return an RRDBNet of two blocks for pictures of three channels; `features` and `growth` are channels of its blocks.

    Its weights are three times basicsr's initial ones, so that every layer shows in the result. They are the same at each call.
    """
    parameters = {
        "num_in_ch": 3, "num_out_ch": 3, "num_feat": features, "num_block": 2, "num_grow_ch": growth, "scale": scale,
    }  # fmt: skip
    torch.manual_seed(5)
    module = architecture("rrdbnet_arch", "RRDBNet")(**parameters).eval()
    state = {k: v.numpy() * 3 for k, v in module.state_dict().items()}
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    return module, rrdbnet.program("made", parameters, state)
