"""A race of the shapes of Hopper's kernel on the card at hand: `python -m workers.card.plane_trial DEVICE KINDS`, KINDS a JSON list.

Prints {"ways": {kind: shape or null}, "milliseconds": {kind: {shape: time}}}; null where no shape is right at both sizes.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec
import torch

from stores.processes import die_with_parent
from workers.card.convolution import Kind
from workers.card.layer_trial import SAFE_DB, SIZES, seconds
from workers.card.planes import PlaneLayer, Shape, chunked, planes, shapes, unchunked

_log = logging.getLogger(__name__)

_FACTOR = 0.5
"""Of a residual in the trial."""


def fits(device: torch.device) -> bool:
    """Return whether `device` is a card that these kernels are made for, sm_90."""
    return device.type == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability(device) == (9, 0)


def shapes_of(outcome: Mapping[str, object], kinds: Iterable[Kind]) -> dict[Kind, Shape] | None:
    """Return for each of `kinds` the shape that a trial's `outcome` has; None where it has none for one of them."""
    ways = msgspec.convert(outcome["ways"], dict[str, Shape | None])
    found = {kind: ways.get(str(plain(kind))) for kind in kinds}
    return {k: s for k, s in found.items() if s is not None} if all(found.values()) else None


def plain(kind: Kind) -> Kind:
    """Return `kind` without its doubling, which is done before this kernel."""
    return replace(kind, double=False)


def race(kinds: Iterable[Kind], device: torch.device, sizes: Iterable[tuple[int, int, int]]) -> dict[str, object]:
    """Measure every shape of each kind; the last of `sizes` is timed."""
    ways: dict[str, Shape | None] = {}
    times: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys(map(plain, kinds)):
        laps = {shape: _measured(kind, shape, device, sizes) for shape in shapes(kind)}
        best = min(laps, key=laps.__getitem__, default=None)
        ways[str(kind)] = best if best is not None and math.isfinite(laps[best]) else None
        times[str(kind)] = {str(shape): took for shape, took in laps.items() if math.isfinite(took)}
    return {"ways": msgspec.to_builtins(ways), "milliseconds": times}


def _measured(kind: Kind, shape: Shape, device: torch.device, sizes: Iterable[tuple[int, int, int]]) -> float:
    """Return the milliseconds of one run at the last of `sizes`; infinity where it is wrong at any, or cannot be compiled or launched."""
    try:
        for size in sizes:
            layer, operands = example(kind, shape, device, size)
            layer.run(*operands)
            found = accuracy(kind, operands, device, size)
            if not found >= SAFE_DB:
                _log.warning("%s with %s is not used: its error is %.0f dB below the result", kind, shape, found)
                return math.inf
        return 1000 * seconds(lambda: layer.run(*operands), device)
    except RuntimeError as error:
        _log.warning("%s with %s is not used: %s", kind, shape, (str(error).splitlines() or [repr(error)])[0])
        return math.inf


Operands = tuple[list[torch.Tensor], torch.Tensor, list[tuple[torch.Tensor, float]]]


def example(kind: Kind, shape: Shape, device: torch.device, size: tuple[int, int, int]) -> tuple[PlaneLayer, Operands]:
    """Return a layer with random weights, and its buffers for a result of `size`; the same numbers for every shape."""
    drawn = _drawn(kind, size)
    layer = PlaneLayer(kind, drawn.weight, drawn.bias, drawn.slopes, shape, device)
    out = planes(drawn.bias.to(device), *size, kind.outputs).fill_(7.0)  # so that what is left unwritten shows
    residuals = [(chunked(one.to(device)), _FACTOR) for one in drawn.residuals]
    return layer, ([chunked(one.to(device)) for one in drawn.inputs], out, residuals)


def accuracy(kind: Kind, operands: Operands, device: torch.device, size: tuple[int, int, int]) -> float:
    """Return by how many dB the error in a layer's output is below its result in fp32; -inf where it wrote outside or not everywhere."""
    out, expected = operands[1], _expected(kind, size, device)
    frame = out.clone()
    frame[:, : -(-kind.outputs // 8), 1:-1, 1:-1] = 7.0
    made = unchunked(out, kind.outputs).float()
    if not bool((frame == 7.0).all()) or not bool(made.isfinite().all()):
        return -math.inf
    error = float((made - expected).square().mean())
    return 10 * math.log10(float(expected.square().mean()) / error) if error else math.inf


@dataclass(frozen=True)
class _Drawn:
    """A layer's weights, inputs and residuals, N x C x H x W in fp32, of numbers that half floats have."""

    weight: torch.Tensor
    bias: torch.Tensor
    slopes: torch.Tensor | None
    inputs: list[torch.Tensor]
    residuals: list[torch.Tensor]


# All shapes of a kind get the same numbers, which take longer to draw than a kernel to compile.
@functools.lru_cache(2)
def _drawn(kind: Kind, size: tuple[int, int, int]) -> _Drawn:
    generator = torch.Generator().manual_seed(1)
    count, height, width = size

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).half().float()

    weight = (drawn(kind.outputs, sum(kind.inputs), 3, 3) / math.sqrt(9 * sum(kind.inputs))).half().float()
    slopes = drawn(kind.outputs) if kind.activated else None
    inputs = [drawn(count, n, height, width) for n in kind.inputs]
    residuals = [drawn(count, kind.outputs, height, width) for _ in range(kind.residuals)]
    return _Drawn(weight, drawn(kind.outputs), slopes, inputs, residuals)


@functools.lru_cache(2)
def _expected(kind: Kind, size: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """Return the result in fp32."""
    drawn = _drawn(kind, size)
    whole = torch.cat(drawn.inputs, 1).to(device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        made = torch.nn.functional.conv2d(whole, drawn.weight.to(device), drawn.bias.to(device), padding=1)
    if drawn.slopes is not None:
        made = torch.nn.functional.prelu(made, drawn.slopes.to(device))
    for one in drawn.residuals:
        made = made.add(one.to(device), alpha=_FACTOR)
    return made


def main() -> None:
    """Run the trial for the device and kinds in the arguments."""
    die_with_parent()
    kinds = msgspec.json.decode(sys.argv[2], type=list[Kind])
    with torch.no_grad():
        print(json.dumps(race(kinds, torch.device(sys.argv[1]), SIZES)))  # noqa: T201


if __name__ == "__main__":
    main()
