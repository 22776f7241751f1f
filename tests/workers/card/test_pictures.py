"""The colour kernels of cards, interpreted, against the CPU's conversion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from contract.film import Colour
from workers.film.card_trial import CASES, Case, Differences, compare

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("matrix", "full", "pix_fmt"),
    [
        ("bt601", False, "yuv420p"),
        ("bt709", True, "yuv420p"),
        ("bt2020", False, "yuv420p10le"),
        ("bt2020", True, "yuv420p10le"),
    ],
)
def test_every_matrix_range_and_depth(matrix: Any, full: bool, pix_fmt: str, interpreted: Callable[..., Any]) -> None:
    """To RGB, from RGB and from a network's unfinished result, the kernels give what the CPU gives but for ties."""
    case = Case(8, 12, pix_fmt, Colour(matrix=matrix, full=full))
    found: Differences = interpreted(compare, case, CPU, 4)
    assert found.flags
    assert found.codes <= 1
    assert found.rgb <= 1e-6
    assert found.ties <= 1e-2, "at most two of 288 samples"


@pytest.mark.parametrize(
    ("site", "height", "width", "pix_fmt"),
    [
        (1, 5, 271, "nv12"),
        (2, 5, 7, "yuv420p"),
        (3, 7, 10, "p010le"),
        (4, 6, 8, "yuv420p"),
        (5, 7, 9, "p010le"),
        (6, 5, 6, "nv12"),
    ],
)
def test_every_chroma_site_and_edge(
    site: int, height: int, width: int, pix_fmt: str, interpreted: Callable[..., Any]
) -> None:
    """Chroma sites, odd sizes, rows longer than a program's, and interleaved planes are those of the CPU."""
    colour = Colour(matrix="bt709", full=False, chroma_location=site)
    found: Differences = interpreted(compare, Case(height, width, pix_fmt, colour), CPU, 1)
    assert found.flags
    assert found.codes <= 1
    assert found.rgb <= 1e-6
    assert found.ties <= 1e-2


def test_a_trial_tells_right_from_wrong(interpreted: Callable[..., Any]) -> None:
    """The trial's own comparison passes for right kernels, and each of its bounds refuses what exceeds it."""
    found: Differences = interpreted(compare, replace(CASES[0], height=10, width=12), CPU, 2)
    assert found.right()
    for fault in ({"codes": 2}, {"ties": 0.01}, {"rgb": 1e-5}, {"flags": False}):
        assert not replace(found, **fault).right()
