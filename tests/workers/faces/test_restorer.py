"""A restorer that runs out of memory or gives NaN."""

from __future__ import annotations

import pytest
import torch

from contract.errors import EnhanceError
from testkit.faces import Stand


class Short(torch.nn.Module):
    """A network that runs out of memory as CUDA does for more than `most` faces at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        if faces.shape[0] > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (injected)")
        return faces * 0.5


def test_out_of_memory_restores_fewer_at_once_with_a_note() -> None:
    """Eight faces that do not fit are all restored after three halvings, and the retry is noted."""
    restorer = Stand(Short(1), 32)
    restorer._batch = 8
    squares = torch.rand(8, 3, 32, 32)
    assert torch.equal(restorer(squares), squares * 0.5)
    assert len(restorer.retries) == 3


def test_out_of_memory_with_one_face_fails_the_chunk() -> None:
    """A single face that does not fit on the CPU either is an error; no unrestored face is returned."""
    with pytest.raises(EnhanceError, match="out of memory with a single face"):
        Stand(Short(0), 32)(torch.rand(1, 3, 32, 32))


def test_nan_fails_the_chunk() -> None:
    """A network that returns NaN is an error; no black face is returned."""

    class Broken(torch.nn.Module):
        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            return faces / 0 * 0

    with pytest.raises(EnhanceError, match="NaN"):
        Stand(Broken(), 32)(torch.rand(1, 3, 32, 32))
