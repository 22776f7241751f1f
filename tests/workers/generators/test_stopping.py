"""A frame is left unfinished when its job stops: between tiles, and between the layers of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from contract.errors import Interrupted
from contract.job import Weights
from workers.generators.basicsr_archs import architecture
from workers.generators.enhancer import Enhancer

Pinned = tuple[Weights, Path]
Load = Callable[..., Enhancer]
DEEP = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_conv": 12, "upscale": 2, "act_type": "prelu"}


class Stop:
    """A checkpoint that raises at its call `at`."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def __call__(self) -> None:
        """Count a call."""
        self.calls += 1
        if self.calls == self.at:
            raise Interrupted("The job was paused.")


@pytest.fixture
def deep(written: Any) -> Pinned:
    """A network of 14 convolutions."""
    torch.manual_seed(5)
    state = {k: v.numpy() for k, v in architecture("srvgg_arch", "SRVGGNetCompact")(**DEEP).state_dict().items()}
    made: Pinned = written(state, "srvgg", DEEP)
    return made


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_frame_stops_between_layers(backend: str, deep: Pinned, enhancer: Load) -> None:
    """The seventh layer is not begun, and the next frame is exactly what it is without a stop."""
    frame = torch.rand((1, 3, 64, 80), generator=torch.Generator().manual_seed(1))
    network = enhancer(deep, backend=backend)
    whole = network.frames(frame, (128, 160)).clone()
    network.forget()
    stop = Stop(at=7)
    network.stop_by(stop)
    with pytest.raises(Interrupted):
        network.frames(frame, (128, 160))
    assert stop.calls == 7
    network.forget()
    assert torch.equal(network.frames(frame, (128, 160)), whole)


def test_an_openvino_inference_is_cancelled(deep: Pinned, enhancer: Load) -> None:
    """A stop during an inference that takes longer than a look ends it; later frames are right."""
    large = torch.rand((1, 3, 1200, 1600), generator=torch.Generator().manual_seed(2))
    small = large[..., :64, :80].contiguous()
    network = enhancer(deep, backend="openvino", threads=1)
    whole = network.frames(small, (128, 160)).clone()
    network.forget()
    stop = Stop(at=2)  # the first call is before the tile
    network.stop_by(stop)
    with pytest.raises(Interrupted):
        network.frames(large, (2400, 3200))
    network.forget()
    assert torch.equal(network.frames(small, (128, 160)), whole)


def test_tiles_are_stops_too(deep: Pinned, enhancer: Load) -> None:
    """Whatever the backend, no tile is begun once the job has stopped."""
    frame = torch.rand((1, 3, 96, 96), generator=torch.Generator().manual_seed(3))
    network = enhancer(deep, tile=32)
    calls = Stop(at=0)
    network.stop_by(calls)
    network.frames(frame, (192, 192))
    network.forget()
    network.stop_by(Stop(at=4))
    with pytest.raises(Interrupted):
        network.frames(frame, (192, 192))
    assert calls.calls >= 9
