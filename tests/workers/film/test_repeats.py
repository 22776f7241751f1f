"""Frames of a film that repeat the one before them: how they are found."""

from __future__ import annotations

import pytest
import torch

from workers.film.repeats import Repeats


def test_frames_are_compared_within_and_between_batches() -> None:
    """As the network sees them: values beyond black and white count as these, and other sizes and NaN repeat nothing."""
    one, other = torch.full((1, 3, 4, 6), 0.25), torch.ones(1, 3, 4, 6)
    repeats = Repeats()
    assert repeats.of(torch.cat([one, one, other])) == [False, True, False]
    assert repeats.of(torch.cat([other + 0.5, one])) == [True, False]
    assert repeats.of(one) == [True]
    assert repeats.of(one[..., :4]) == [False]
    assert repeats.of(torch.full((2, 3, 4, 4), torch.nan)) == [False, False]


def test_where_memory_is_short_nothing_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are computed once more then, and compared again from the next but one on."""
    shown, repeats = torch.zeros(2, 3, 4, 6), Repeats()
    assert repeats.of(shown) == [False, True]
    with monkeypatch.context() as patched:

        def clone(_: torch.Tensor) -> torch.Tensor:
            raise torch.cuda.OutOfMemoryError("injected")

        patched.setattr(torch.Tensor, "clone", clone)
        assert repeats.of(shown) == [False, False]
    assert repeats.of(shown) == [False, True]
    assert repeats.of(shown) == [True, True]
