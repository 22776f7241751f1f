"""The end of a layer on a matrix unit, as LLVM code: bias, activation, residuals and stores."""

from __future__ import annotations

from llvmlite import ir

from workers.generators.native.matrix import OUTPUTS, SPREAD, Shape
from workers.llvm.emit import FLOAT, HALF, INT, POINTER, Emitter, Fields, at, corner

VECTOR = ir.VectorType(FLOAT, OUTPUTS)
HALVES = ir.VectorType(HALF, OUTPUTS)


class End:
    """Writer of the code that finishes the sums of one row and group of channels: bias, activation, residuals and stores."""

    def __init__(
        self, writer: Emitter, round_two: ir.Function, b: ir.IRBuilder, shape: Shape, f: Fields, line: ir.Value, group: ir.Value,
        products: ir.Value, n: int,
    ) -> None:  # fmt: skip
        """Load the constants; `round_two` rounds two vectors of fp32 to one of bf16, the second vector first."""
        self._writer, self._round, self._b, self._shape, self._f = writer, round_two, b, shape, f
        self._line, self._group, self._products, self._n = line, group, products, n
        self._names = ("r", "q")[: shape.residuals]
        self._bias = self._each("bias")
        self._slopes = self._each("slopes") if shape.activation else []
        self._factors = [
            writer.splat(b, b.load(b.inttoptr(f[f"{name}_factor"], POINTER), typ=FLOAT), OUTPUTS)
            for name in self._names
        ]

    def _each(self, name: str) -> list[ir.Value]:
        base = self._b.inttoptr(self._f[name], POINTER)
        offset = self._b.mul(self._group, INT(4 * 2 * OUTPUTS))
        return [self._load(base, offset, INT(64 * j)) for j in range(self._n)]

    def _load(self, base: ir.Value, *offsets: ir.Value) -> ir.Value:
        return self._b.load(at(self._b, base, *offsets), typ=VECTOR, align=4)

    def pixels(self, first: ir.Value, start: ir.Value, stop: ir.Value) -> None:
        """Finish pixels `start` .. `stop` - 1 of the block that begins at column `first`; none if `stop` is at most `start`."""
        with self._writer.loop(self._b, self._b.sub(stop, start)) as more:
            self.pixel(first, self._b.add(start, more))

    def pixel(self, first: ir.Value, p: ir.Value) -> None:
        """Finish pixel `p` of the block that begins at column `first`."""
        b = self._b

        def here(name: str) -> ir.Value:
            left = corner(b, self._f, name, self._line, first)
            return at(b, left, b.mul(self._group, self._f[f"{name}_plane"]), b.mul(p, self._f[f"{name}_pixel"]))

        out, added = here("out"), [here(name) for name in self._names]
        values = []
        for j in range(self._n):
            value = b.fadd(self._load(self._products, b.mul(p, INT(self._n * 64)), INT(j * 64)), self._bias[j])
            if self._shape.activation:
                zero = ir.Constant(VECTOR, [0.0] * OUTPUTS)
                value = b.select(b.fcmp_ordered(">", value, zero), value, b.fmul(value, self._slopes[j]))
            for there, factor in zip(added, self._factors, strict=True):
                held = b.fpext(b.load(at(b, there, INT(j * 32)), typ=HALVES, align=2), VECTOR)
                value = b.fadd(value, b.fmul(held, factor))
            values.append(value)
        if self._shape.way == "spread":
            frame = here("r")
            for j, value in enumerate(values):
                colour = at(b, out, INT(0) if j == 0 else b.sdiv(self._f["out_plane"], INT(2)))
                shown = at(b, frame, INT(0) if j == 0 else b.sdiv(self._f["r_plane"], INT(2)))
                self._spread(b.fadd(value, self._writer.splat(b, b.load(shown, typ=FLOAT), OUTPUTS)), colour)
        elif self._shape.way == "wide":
            for j, value in enumerate(values):
                b.store(value, at(b, out, INT(j * 64)), align=4)
        elif self._n == 2:
            b.store(b.call(self._round, values[::-1]), out, align=2)
        else:
            b.store(b.fptrunc(values[0], HALVES), out, align=2)

    def _spread(self, value: ir.Value, start: ir.Value) -> None:
        """Store 16 channels as 4 x 4 pixels, like torch's PixelShuffle."""
        for row in range(SPREAD):
            picked = ir.Constant(ir.VectorType(ir.IntType(32), SPREAD), [SPREAD * row + i for i in range(SPREAD)])
            four = self._b.shuffle_vector(value, ir.Constant(VECTOR, ir.Undefined), picked)
            down = self._b.mul(self._f["out_line"], INT(row))
            self._b.store(four, at(self._b, start, down), align=4)
