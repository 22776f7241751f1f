"""A race of a convolution's kernels on the card at hand: `python -m workers.card.layer_trial DEVICE KINDS`, KINDS a JSON list.

Prints {"ways": {kind: tile or null}, "milliseconds": {kind: {way: time}}}. A Triton kernel wins only where it is faster than PyTorch's
kernels for the same layer and right at two sizes, one of which is odd.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

import msgspec
import torch

from stores.processes import die_with_parent
from workers.card.convolution import TILES, Kind, Layer, Operands, Tile, bordered, filled

_log = logging.getLogger(__name__)

SAFE_DB = 60.0
"""Power of the result over that of the error, in dB. Rounding to half floats alone gives about 73; a network has up to 350 layers."""
SIZES = ((2, 37, 53), (1, 720, 960))
"""Frames, height and width: an odd size, and one that fills a card, whose time counts."""
_RUNS = 10
"""Runs in each of the laps of which the fastest counts."""


def encoded(kinds: Iterable[Kind]) -> str:
    """Return `kinds` as the trial's argument."""
    return json.dumps([asdict(kind) for kind in kinds])


def ways_of(outcome: Mapping[str, object], kinds: Iterable[Kind]) -> dict[Kind, Tile | None]:
    """Return for each of `kinds` the tile of its Triton kernel, or None for PyTorch's kernels, as a trial's `outcome` has them."""
    ways = msgspec.convert(outcome["ways"], dict[str, Tile | None])
    return {kind: ways.get(str(kind)) for kind in kinds}


def race(
    kinds: Iterable[Kind], device: torch.device, sizes: Iterable[tuple[int, int, int]], runs: int = _RUNS
) -> dict[str, object]:
    """Measure every way of each kind, `runs` times in each lap; the last of `sizes` is timed."""
    ways: dict[str, Tile | None] = {}
    times: dict[str, dict[str, float]] = {}
    for kind in kinds:
        laps = {tile: measured(kind, tile, device, sizes, runs) for tile in (None, *TILES)}
        ways[str(kind)] = min(laps, key=laps.__getitem__)
        times[str(kind)] = {str(tile or "PyTorch"): laps[tile] for tile in laps if math.isfinite(laps[tile])}
    return {"ways": msgspec.to_builtins(ways), "milliseconds": times}


def measured(
    kind: Kind, tile: Tile | None, device: torch.device, sizes: Iterable[tuple[int, int, int]], runs: int = _RUNS
) -> float:
    """Return the milliseconds of one run at the last of `sizes`; infinity where it is wrong at any or cannot be compiled."""
    try:
        for size in sizes:
            found = accuracy(kind, tile, device, size)
            if tile is not None and not found >= SAFE_DB:
                _log.warning("%s with %s is not used: its error is %.0f dB below the result", kind, tile, found)
                return math.inf
        layer, operands = example(kind, tile, device, size, torch.float16)
        return 1000 * seconds(lambda: layer.run(operands), device, runs)
    except Exception as error:  # compilers fail in many ways; an error of the card ends the whole trial, as it returns at the next call
        if tile is None:
            raise
        _log.warning("%s with %s is not used: %s", kind, tile, (str(error).splitlines() or [repr(error)])[0])
        return math.inf


def accuracy(kind: Kind, tile: Tile | None, device: torch.device, size: tuple[int, int, int]) -> float:
    """Return by how many dB a layer's error is below its result in fp32; -inf where it writes outside or leaves the border."""
    layer, operands = example(kind, tile, device, size, torch.float16)
    exact, in_full = example(kind, None, device, size, torch.float32)
    layer.run(operands)
    with torch.backends.cudnn.flags(allow_tf32=False):  # its mantissa is no longer than that of half floats
        exact.run(in_full)
    made, expected = operands.output.float(), in_full.output
    frame = made.clone()
    frame[:, 1:-1, 1:-1] = 0
    if bool(frame.any()) or not bool(made.isfinite().all()):
        return -math.inf
    error = float((made - expected).square().mean())
    return 10 * math.log10(float(expected.square().mean()) / error) if error else math.inf


def example(
    kind: Kind, tile: Tile | None, device: torch.device, size: tuple[int, int, int], precision: torch.dtype
) -> tuple[Layer, Operands]:
    """Return a layer with random weights, and buffers for a result of `size`; the same numbers for every tile and precision."""
    generator = torch.Generator().manual_seed(1)
    count, height, width = size
    shrink = 2 if kind.double else 1
    height, width = height // shrink * shrink, width // shrink * shrink

    def drawn(*shape: int) -> torch.Tensor:
        # Rounded to half floats first, so that a layer in fp32 gets the same numbers.
        return torch.randn(shape, generator=generator).half().float()

    def buffer(channels: int, used: int, height: int, width: int) -> torch.Tensor:
        whole = torch.zeros((count, height + 2, width + 2, channels))
        whole[:, 1:-1, 1:-1, :used] = drawn(count, height, width, used)
        return whole.to(device, precision)

    weight = (drawn(kind.outputs, sum(kind.inputs), 3, 3) / math.sqrt(9 * sum(kind.inputs))).half().float()
    slopes = drawn(kind.outputs) if kind.activated else None
    layer = Layer(kind, weight, drawn(kind.outputs), slopes, tile, device, precision)
    inputs = tuple(buffer(filled(n), n, height // shrink, width // shrink) for n in kind.inputs)
    residuals = tuple((buffer(kind.outputs, kind.outputs, height, width), 0.5) for _ in range(kind.residuals))
    output = bordered(inputs[0], count, height, width, kind.outputs).fill_(7.0)  # so that what is left unwritten shows
    return layer, Operands(inputs, output, residuals)


def seconds(run: Callable[[], object], device: torch.device, runs: int = _RUNS) -> float:
    """Return the seconds of one run: the best of five laps of `runs` after one that does not count."""

    def lap() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        for _ in range(runs):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / runs

    lap()
    return min(lap() for _ in range(5))


def main() -> None:
    """Run the trial for the device and kinds in the arguments."""
    die_with_parent()
    torch.backends.cudnn.benchmark = True
    kinds = msgspec.json.decode(sys.argv[2], type=list[Kind])
    with torch.no_grad():
        print(json.dumps(race(kinds, torch.device(sys.argv[1]), SIZES)))  # noqa: T201


if __name__ == "__main__":
    main()
