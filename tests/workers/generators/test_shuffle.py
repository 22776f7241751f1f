"""The end of a network on a CPU, against PyTorch's PixelShuffle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from workers.generators.native.memory import ThreadTeam
from workers.generators.native.shuffle import Shuffle
from workers.llvm import machine

pytestmark = pytest.mark.skipif(machine.vectors() is None, reason="the processor has no vectors that our code knows")


@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize("square", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_pixel_shuffle_and_addition(square: int, base: bool, threads: int, tmp_path: Path) -> None:
    """Bit for bit, from pixels with more channels than are shuffled, with more threads than rows, and nowhere else is written."""
    generator = torch.Generator().manual_seed(1)
    shuffle, team = Shuffle(square, base, tmp_path), ThreadTeam(threads)
    for height, width in ((2, 5), (7, 3)):
        pixels = torch.randn((height, width, 3 * square**2 + 5), generator=generator)
        frame = torch.randn((3, height, width), generator=generator)
        around = torch.full((3, height * square + 2, width * square + 2), 7.0)
        out = around[:, 1:-1, 1:-1]
        shuffle.run(team, pixels.numpy(), frame.numpy(), out.numpy())
        expected = torch.nn.functional.pixel_shuffle(pixels[..., : 3 * square**2].permute(2, 0, 1)[None], square)[0]
        if base:
            expected = expected + frame.repeat_interleave(square, 1).repeat_interleave(square, 2)
        assert torch.equal(out, expected)
        out[:] = 7.0
        assert np.all(around.numpy() == 7.0)
