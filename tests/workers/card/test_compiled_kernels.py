"""Kernels compiled for cards that this machine does not have, down to machine code."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from testkit.triton_targets import CAPABILITIES, compiled, compiled_layer
from workers.card.convolution import TILES, Kind

pytestmark = pytest.mark.usefixtures("_triton")

TENSOR_CORES = {80: r"mma\.sync", 89: r"mma\.sync", 90: r"wgmma\.mma_async", 100: r"tcgen05\.mma"}
"""The instructions that multiply matrices of half floats on each card."""

TABLES: dict[str, Any] = {
    "row_starts": torch.int32, "row_taps": torch.float32, "column_starts": torch.int32, "column_taps": torch.float32,
    "numbers": torch.float32,
}  # fmt: skip


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_colour_kernels(capability: int) -> None:
    """Both colour kernels compile for every card, and flags are collected over all programs."""
    from workers.card import picture_kernels

    codes = torch.uint8 if capability % 20 else torch.int16
    tables = TABLES | {"luma": codes, "chroma": codes, "cb": codes, "cr": codes, "flags": torch.int32, "block": 128}
    there = dict.fromkeys(picture_kernels.codes_to_rgb.arg_names, "i32") | tables | {"rgb": torch.float32}
    ptx = compiled(picture_kernels.codes_to_rgb, there | {"limit": False}, capability)
    assert f".target sm_{capability}" in ptx
    back = dict.fromkeys(picture_kernels.rgb_to_codes.arg_names, "i32") | tables | {"limit": True}
    for image, shuffle in ((torch.float32, 1), (torch.float16, 4)):
        ptx = compiled(
            picture_kernels.rgb_to_codes, back | {"image": image, "base": image, "shuffle": shuffle}, capability
        )
        assert re.search(r"(atom|red)\.\S*max\.s32", ptx)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(
    "kind",
    [Kind((64,), 64, True, 0, False), Kind((64, 96), 32, True, 0, False), Kind((64, 128), 64, False, 2, False), Kind((64,), 64, True, 0, True)],
    ids=["body", "two buffers", "two residuals", "doubling"],
)  # fmt: skip
def test_convolutions_use_tensor_cores(capability: int, kind: Kind) -> None:
    """Each card's own matrix instruction is used, memory is fetched ahead without registers, and no register is spilled."""
    ptx = compiled_layer(kind, TILES[0], capability)
    assert re.search(TENSOR_CORES[capability], ptx)
    assert "cp.async.cg.shared.global" in ptx
    assert not re.search(r"\b(ld|st)\.local", ptx)
