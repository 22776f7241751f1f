"""A family's program between buffers of planes, each layer by Hopper's code on a processor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from testkit.hopper_on_cpu import HopperOnCpu
from workers.card.plane_trial import plain
from workers.card.planes import PlaneLayer, shapes
from workers.generators import rrdbnet, srvgg
from workers.generators.basicsr_archs import architecture
from workers.generators.fused import finished, kind_of
from workers.generators.plane_module import PlaneModule

CPU = torch.device("cpu")
SRVGG = {"num_feat": 16, "num_conv": 1, "upscale": 4, "act_type": "prelu"}
RRDB = {"scale": 2, "num_feat": 16, "num_block": 1, "num_grow_ch": 16}


@pytest.mark.parametrize(
    ("family", "file", "name", "parameters"),
    [(srvgg, "srvgg_arch", "SRVGGNetCompact", SRVGG), (rrdbnet, "rrdbnet_arch", "RRDBNet", RRDB)],
    ids=["srvgg", "rrdbnet"],
)
def test_the_program_is_the_network(
    family: Any, file: str, name: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Base, doubling, residuals, unshuffle and 3 outputs included, the result is within the race's 50 dB of fp32."""
    torch.manual_seed(1)
    made = architecture(file, name)(num_in_ch=3, num_out_ch=3, **parameters)
    state = {k: v.numpy() for k, v in made.state_dict().items()}
    program = family.program("made", parameters, state)
    rgb = torch.rand((2, 3, 4, 6), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = family.module("made", parameters, state)(rgb)
    hopper = HopperOnCpu(tmp_path)
    monkeypatch.setattr(PlaneLayer, "run", lambda layer, *operands: hopper.run(layer, *operands))
    kinds = {c: kind_of(c) for c in (*program.body, *program.tail)}
    ours = PlaneModule(program, CPU, kinds, {kind: shapes(plain(kind))[0] for kind in kinds.values()})
    half = rgb.half()
    result = finished(ours(half), half, program)
    assert result.shape == exact.shape
    assert -10 * math.log10(float((result - exact).square().mean())) >= 50
