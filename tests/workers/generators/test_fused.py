"""The fused backend: a family's program on a card, as far as a processor can tell."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch

from contract.errors import UsageError
from contract.job import Spec
from contract.settings import Settings
from workers.card.convolution import TILES, Kind
from workers.card.proof import Outcome, Proofs
from workers.generators import registry, rrdbnet, srvgg
from workers.generators.basicsr_archs import architecture
from workers.generators.fused import FusedModule, finished, fits, kinds_of, proved_module
from workers.generators.native.program import Program
from workers.generators.torch_backend import OFTEN

CPU = torch.device("cpu")
SRVGG = {"num_feat": 16, "num_conv": 2, "upscale": 4, "act_type": "prelu"}
RRDB = {"scale": 2, "num_feat": 32, "num_block": 1, "num_grow_ch": 16}


def built(family: Any, name: str, parameters: dict[str, Any]) -> tuple[torch.nn.Module, Program]:
    """Make a network with random weights, and its program."""
    torch.manual_seed(1)
    file = "srvgg_arch" if family is srvgg else "rrdbnet_arch"
    made = architecture(file, name)(num_in_ch=3, num_out_ch=3, **parameters)
    state = {k: v.numpy() for k, v in made.state_dict().items()}
    return family.module("made", parameters, state), family.program("made", parameters, state)


NETWORKS = [(srvgg, "SRVGGNetCompact", SRVGG), (rrdbnet, "RRDBNet", RRDB)]


@pytest.mark.parametrize(("family", "name", "parameters"), NETWORKS, ids=["srvgg", "rrdbnet"])
def test_the_program_is_the_network(family: Any, name: str, parameters: dict[str, Any]) -> None:
    """Layer by layer between bordered buffers, in fp32, the result is the network's."""
    module, program = built(family, name, parameters)
    rgb = torch.rand((2, 3, 10, 14), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = finished(FusedModule(program, CPU, {}, torch.float32)(rgb), rgb, program)
        assert torch.allclose(made, module(rgb), atol=1e-5)
    assert fits(program)


@pytest.mark.parametrize(("family", "name", "parameters"), NETWORKS, ids=["srvgg", "rrdbnet"])
def test_interpreted_kernels_are_the_network(
    family: Any, name: str, parameters: dict[str, Any], interpreted: Any
) -> None:
    """With every layer in Triton, in half floats, the result is within the race's 50 dB of fp32."""
    module, program = built(family, name, parameters)
    rgb = torch.rand((2, 3, 6, 10), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = module(rgb)
    fused = FusedModule(program, CPU, dict.fromkeys(kinds_of(program), TILES[0]))
    half = rgb.half().contiguous(memory_format=torch.channels_last)
    made = finished(interpreted(fused.forward, half), half, program)
    assert made.shape == exact.shape
    assert -10 * math.log10(float((made - exact).square().mean())) >= 50


class Tried(Proofs):
    """Proofs whose trials found `outcome`."""

    def __init__(self, outcome: Outcome | None) -> None:
        self.device, self.found = torch.device("cuda"), outcome
        self.asked: list[tuple[str, ...]] = []

    def outcome(self, module: str, *arguments: str) -> Outcome | None:
        self.asked.append((module, *arguments))
        return self.found


def test_only_what_a_trial_proved_is_used() -> None:
    """Without an outcome, or without a kernel that won, there is no fused network; with one, that layer alone is in Triton."""
    _, program = built(*NETWORKS[0])
    first, *others = kinds_of(program)
    none = {str(kind): None for kind in kinds_of(program)}
    for outcome in (None, {"ways": none}):
        assert proved_module(program, Tried(outcome)) is None
    won = {"rows": 8, "columns": 16, "warps": 4, "stages": 3}
    made = proved_module(program, Tried({"ways": none | {str(first): won}}))
    assert isinstance(made, partial)
    assert made.args[-1] == {first: TILES[0]} | dict.fromkeys(others)


def test_buffers_that_do_not_fill_steps_are_not_tried() -> None:
    """A network of 24 features has slices that the kernel would read beyond."""
    _, program = built(srvgg, "SRVGGNetCompact", SRVGG | {"num_feat": 24})
    proofs = Tried({"ways": {}})
    assert proved_module(program, proofs) is None
    assert not proofs.asked


def test_the_registry_offers_it_on_cards_alone(pinned: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """On a CPU the backend is refused; the candidates of a card have it first where it is proved, for fp16 and auto."""
    weights, path = pinned("realesr-animevideov3")
    spec = Spec(model=weights.name, weights=(weights,))
    with pytest.raises(UsageError, match="backend fused in precision auto is not available on cpu"):
        registry.load(spec, {weights.sha256: path}, Settings(cache=tmp_path, device="cpu", backend="fused"))
    kinds = [Kind((3,), 64, True, 0, False), Kind((64,), 64, True, 0, False), Kind((64,), 48, False, 0, False)]
    proofs = Tried({"ways": {str(kind): {"rows": 8, "columns": 16, "warps": 4, "stages": 3} for kind in kinds}})
    family = registry.FAMILIES[weights.architecture]
    state = registry._state(spec, weights, {weights.sha256: path})

    def offered(proofs: Proofs | None, backend: str = "auto", precision: Any = "auto") -> list[str]:
        asked = Spec(model=weights.name, weights=(weights,), precision=precision)
        settings = Settings(cache=tmp_path, backend=backend)
        card = torch.device("cuda")
        return [str(c) for c in registry._candidates(family, asked, weights, state, card, settings, proofs)]

    assert offered(proofs) == ["fused fp16", "torch fp16", "torch fp32"]
    fused, half, full = registry._candidates(
        family, spec, weights, state, torch.device("cuda"), Settings(cache=tmp_path), proofs
    )
    assert (fused.before, half.before, full.before) == (0, OFTEN + 1, 0), "torch's is compiled before it is timed"
    assert offered(proofs, "fused", "fp16") == ["fused fp16"]
    assert offered(proofs, precision="bf16") == ["torch bf16"]
    assert offered(proofs, "torch") == offered(None) == ["torch fp16", "torch fp32"]
    with pytest.raises(UsageError, match="backend fused"):
        offered(None, "fused")
