"""Triton without a card: compilation for cards that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from workers.card.convolution import Kind, Tile, blocks

CAPABILITIES = (80, 89, 90, 100)
"""Compute capabilities times ten: A100, L4 and RTX 4090, H100 and H200, B200."""

_POINTERS = {
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.uint8: "*u8",
    torch.int16: "*i16",
    torch.int32: "*i32",
}


def compiled(kernel: Any, arguments: Mapping[str, Any], capability: int, **options: int) -> str:
    """Compile `kernel` for `capability` down to machine code and return its PTX.

    `arguments` maps every parameter to a tensor's dtype, to an integer or float type's name, or to a constant's value for those that the
    kernel marks as constants. Integers and pointers are taken to be multiples of 16, as Triton finds them for most pictures.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {p.name: arguments[p.name] for p in kernel.params if p.is_constexpr}
    signature = {
        p.name: "constexpr" if p.is_constexpr else _POINTERS.get(arguments[p.name], arguments[p.name])
        for p in kernel.params
    }
    aligned = {
        (n,): [["tt.divisibility", 16]]
        for n, p in enumerate(kernel.params)
        if not p.is_constexpr and (signature[p.name][0] in "*i")
    }
    source = ASTSource(kernel, signature, constants, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options or None)
    assert made.asm["cubin"], "ptxas made no machine code"
    return str(made.asm["ptx"])


def compiled_layer(kind: Kind, tile: Tile, capability: int) -> str:
    """Compile the convolution of `kind` in half floats, with `tile`, and return its PTX."""
    from workers.card.convolution_kernel import convolve

    half, full = torch.float16, torch.float32
    types = dict[str, Any](dict.fromkeys(convolve.arg_names, "i32")) | blocks(kind, tile)
    types |= dict.fromkeys(("one", "two", "weights", "near", "far", "out"), half) | {"bias": full, "slopes": full}
    types |= {"near_factor": "fp32", "far_factor": "fp32"}
    return compiled(convolve, types, capability, num_warps=tile.warps, num_stages=tile.stages)
