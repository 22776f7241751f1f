"""The convolution layer as LLVM code for a matrix unit: direct convolution with sums in fp32.

Threads take rows of pixels from a shared counter until none is left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llvmlite import ir

from workers.generators.native.matrix import FIELDS, OUTPUTS, PIXELS, TILE, Shape
from workers.generators.native.matrix_end import VECTOR, End
from workers.llvm.emit import BYTE, HALF, INT, POINTER, Emitter, Fields, at, corner

_PACE = 4
"""Vectors finished in each step of the sums: all 64 of a block in 16 steps; a convolution of 64 channels has 18 steps."""


class MatrixWriter(Emitter):
    """Writer of layers, and of `run`, which executes a list of them on every thread that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self._zero = self._unit("tilezero", [BYTE])
        self._load = self._unit("tileloadd64", [BYTE, POINTER, INT])
        self._store = self._unit("tilestored64", [BYTE, POINTER, INT])
        self._multiply = self._unit("tdpbf16ps", [BYTE] * 3)
        both = ir.FunctionType(ir.VectorType(HALF, 2 * OUTPUTS), [VECTOR, VECTOR])
        self._round = ir.Function(self.module, both, "llvm.x86.avx512bf16.cvtne2ps2bf16.512")

    def _unit(self, name: str, kinds: list[ir.Type]) -> ir.Function:
        return ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), f"llvm.x86.{name}")

    def _group(
        self, b: ir.IRBuilder, shape: Shape, f: Fields, line: ir.Value, group: ir.Value, products: ir.Value, n: int
    ) -> None:
        """Compute `n` times 16 output channels of one row, from channel 32 * `group`, in blocks of pixels.

        A block's sums are finished while the next block is summed: vector and matrix units work in parallel.
        """
        whole, pace = INT(4 // n * PIXELS), _PACE // n
        end = End(self, self._round, b, shape, f, line, group, products, n)
        steps = b.add(f["x_steps"], f["y_steps"])
        weights = at(b, b.inttoptr(f["weights"], POINTER), b.mul(b.mul(steps, group), INT(2 * TILE)))
        beside = at(b, weights, b.mul(f["x_steps"], INT(n * TILE)))
        blocks = b.sdiv(b.sub(b.add(f["columns"], whole), INT(1)), whole)
        with self.loop(b, blocks) as block:
            first = b.mul(block, whole)
            before = b.sub(first, whole)
            pending = b.select(b.icmp_signed(">", block, INT(0)), whole, INT(0))

            def meanwhile(step: ir.Value, before: ir.Value = before, pending: ir.Value = pending) -> None:
                start = b.mul(step, INT(pace))
                with b.if_then(b.icmp_signed("<", start, pending)):
                    for more in range(pace):
                        end.pixel(before, b.add(start, INT(more)))

            for c in range(4):
                b.call(self._zero, [BYTE(c)])
            self._sum(b, f, "x", line, first, weights, n, meanwhile)
            self._sum(b, f, "y", line, first, beside, n, lambda k: meanwhile(b.add(k, f["x_steps"])))
            end.pixels(before, b.mul(steps, INT(pace)), pending)
            for c in range(4):
                target = at(b, products, INT((c // n * PIXELS * n + c % n) * 64))
                b.call(self._store, [BYTE(c), target, INT(n * 64)])
        last = b.mul(b.sub(blocks, INT(1)), whole)
        end.pixels(last, INT(0), b.sub(f["columns"], last))

    def _sum(
        self, b: ir.IRBuilder, f: Fields, part: str, line: ir.Value, first: ir.Value, weights: ir.Value, n: int,
        meanwhile: Callable[[ir.Value], None],
    ) -> None:  # fmt: skip
        """Add one part of the input channels times their weights to four products, of 16 pixels and 16 outputs each."""
        m = 4 // n
        offsets = b.inttoptr(f[f"{part}_offsets"], POINTER)
        pixel = f[f"{part}_pixel"]
        start = corner(b, f, part, line, first)
        ups = [b.mul(pixel, INT(PIXELS * i)) for i in range(m)]
        a_tiles = [4 + i % (4 - n) for i in range(m)]
        b_tiles = [8 - n + j for j in range(n)]
        with self.loop(b, f[f"{part}_steps"]) as k:
            here = at(b, start, b.load(b.gep(offsets, [k], source_etype=INT), typ=INT))
            there = at(b, weights, b.mul(k, INT(n * TILE)))
            for j in range(n):
                b.call(self._load, [BYTE(b_tiles[j]), at(b, there, INT(j * TILE)), INT(64)])
            for i in range(m):
                b.call(self._load, [BYTE(a_tiles[i]), at(b, here, ups[i]), pixel])
                for j in range(n):
                    b.call(self._multiply, [BYTE(i * n + j), BYTE(a_tiles[i]), BYTE(b_tiles[j])])
            meanwhile(k)

    @staticmethod
    def _below(b: ir.IRBuilder, finished: ir.Value, rows: ir.Value) -> ir.Value:
        return b.icmp_signed("<", b.load_atomic(finished, "acquire", 8, typ=INT), rows)

    def layer(self, shape: Shape) -> None:
        """Add the layer `shape.name`: (fields, products)."""
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER]), shape.name)
        fields, products = function.args
        for argument in function.args:
            argument.add_attribute("noalias")
        b = ir.IRBuilder(function.append_basic_block("entry"))
        f = {n: b.load(b.gep(fields, [INT(i)], source_etype=INT), typ=INT, name=n) for i, n in enumerate(FIELDS)}
        take, work, done = (b.append_basic_block(n) for n in ("take", "work", "done"))
        b.branch(take)
        b.position_at_end(take)
        line = b.atomic_rmw("add", b.inttoptr(f["counter"], POINTER), INT(1), "monotonic")
        b.cbranch(b.icmp_signed("<", line, f["rows"]), work, done)
        b.position_at_end(work)
        with self.loop(b, f["pairs"]) as pair:
            self._group(b, shape, f, line, pair, products, 2)
        if shape.single:
            self._group(b, shape, f, line, f["pairs"], products, 1)
        b.atomic_rmw("add", b.inttoptr(f["finished"], POINTER), INT(1), "release")
        b.branch(take)
        b.position_at_end(done)
        b.ret_void()

    def run(self, shapes: list[Shape]) -> None:
        """Add `run`: (calls, count, scratch), where each call is the number of a layer in `shapes` and the address of its fields.

        A thread leaves a layer when all its rows are done, by any thread; so a thread that starts late, or never, delays no other.
        """
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, INT, POINTER]), "run")
        calls, count, scratch = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        b.call(self._unit("ldtilecfg", [POINTER]), [scratch])
        products = at(b, scratch, INT(64))
        with self.loop(b, count) as call:
            pair = at(b, calls, b.mul(call, INT(16)))
            fields = b.load(at(b, pair, INT(8)), typ=POINTER)
            done = b.append_basic_block("done")
            choice = b.switch(b.load(pair, typ=INT), done)
            for n, shape in enumerate(shapes):
                block = b.append_basic_block(shape.name)
                choice.add_case(INT(n), block)
                b.position_at_end(block)
                b.call(self.module.get_global(shape.name), [fields, products])
                b.branch(done)
            b.position_at_end(done)

            def field(name: str) -> ir.Value:
                return b.load(at(b, fields, INT(8 * FIELDS.index(name))), typ=INT)

            rows, finished = field("rows"), b.inttoptr(field("finished"), POINTER)
            self.wait(b, partial(self._below, b, finished, rows))
        b.call(self._unit("tilerelease", []), [])
        b.ret_void()
