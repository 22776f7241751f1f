"""The end of a network, as LLVM code: a pixel's channels become the pixels of a square, and the frame is added to each of them.

PyTorch is slower: it walks the result in pieces of as many values as a square has columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from llvmlite import ir

from workers.generators.native.memory import Memory, ThreadTeam
from workers.llvm.emit import FLOAT, INT, POINTER, Emitter, Fields, at
from workers.llvm.machine import Machine

_NAME = "shuffle"
_FIELDS = (
    "pixels", "row", "pixel", "frame", "frame_colour", "frame_row", "out", "out_colour", "out_row", "height", "width", "taken",
)  # fmt: skip
"""The 64-bit arguments: addresses, strides in bytes, the size of `frame`, and the address of the number of rows that have been taken."""


class Shuffle:
    """PixelShuffle (Shi et al. 2016) by `square` to three colours, to which the frame is added if `base`."""

    def __init__(self, square: int, base: bool, cache: Path) -> None:
        self._machine = Machine(str(_Writer(square, base).module), [_NAME], cache)

    def run(self, team: ThreadTeam, pixels: Memory, frame: Memory, out: Memory) -> None:
        """Fill `out`, 3 x (h * square) x (w * square), from `pixels`, h x w x C with C at least 3 * square**2, and `frame`, 3 x h x w.

        All are float32, and the values of a pixel, and the pixels of a row of `frame` and `out`, are contiguous. A thread takes the next row
        when it is done with one, as some begin late.
        """
        taken = np.zeros(1, np.int64)
        fields = [pixels.ctypes.data, *pixels.strides[:2]]
        for planes in (frame, out):
            fields += [planes.ctypes.data, *planes.strides[:2]]
        plan = np.array([*fields, *pixels.shape[:2], taken.ctypes.data], np.int64)
        team.run(self._machine.functions[_NAME], [(plan.ctypes.data, 0, 0)] * team.size)


class _Writer(Emitter):
    """Writer of the function (fields, unused, unused)."""

    def __init__(self, square: int, base: bool) -> None:
        super().__init__()
        self._square, self._base = square, base
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, POINTER]), _NAME)
        self._b = b = ir.IRBuilder(function.append_basic_block("entry"))
        f = {n: b.load(b.gep(function.args[0], [INT(i)], source_etype=INT), typ=INT) for i, n in enumerate(_FIELDS)}
        take, work, over = (b.append_basic_block(n) for n in ("take", "work", "over"))
        b.branch(take)
        b.position_at_end(take)
        line = b.atomic_rmw("add", b.inttoptr(f["taken"], POINTER), INT(1), "monotonic")
        b.cbranch(b.icmp_signed("<", line, f["height"]), work, over)
        b.position_at_end(work)
        self._row(f, line)
        b.branch(take)
        b.position_at_end(over)
        b.ret_void()

    def _row(self, f: Fields, line: ir.Value) -> None:
        b, square = self._b, self._square
        vector = ir.VectorType(FLOAT, square)
        pixels, frame, out = (b.inttoptr(f[name], POINTER) for name in ("pixels", "frame", "out"))
        source, shown = at(b, pixels, b.mul(line, f["row"])), at(b, frame, b.mul(line, f["frame_row"]))
        first = at(b, out, b.mul(b.mul(line, INT(square)), f["out_row"]))
        with self.loop(b, f["width"]) as column:
            here, across = at(b, source, b.mul(column, f["pixel"])), b.mul(column, INT(4 * square))
            for colour in range(3):
                target = at(b, first, across, b.mul(f["out_colour"], INT(colour)))
                added = at(b, shown, b.mul(f["frame_colour"], INT(colour)), b.mul(column, INT(4)))
                more = self.splat(b, b.load(added, typ=FLOAT), square) if self._base else None
                for down in range(square):
                    value = b.load(at(b, here, INT(4 * square * (colour * square + down))), typ=vector, align=4)
                    value = value if more is None else b.fadd(value, more)
                    b.store(value, at(b, target, b.mul(f["out_row"], INT(down))), align=4)
