"""The three steps of a convolution layer as LLVM code, written for one width of vectors and one number of registers.

Transform the inputs of a few tiles, compute 36 (or 25) small matrix products, transform back with bias, activation and residuals.
In bf16 only the operands of the products are rounded, to nearest even: transforms, sums and buffers are fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from workers.generators.native.winograd import DOUBLED, INPUT, OUTPUT, PLAIN, Arithmetic, Transforms
from workers.llvm.emit import FLOAT, HALF, INT, POINTER, WORD, Emitter


@dataclass(frozen=True)
class Shape:
    """The properties that a layer is specialised for.

    `chunks` are the vectors of output channels in each matrix product; `residuals` is how many of r and q are added;
    `double` means that the input is an image of half the size, with each pixel repeated; `half`, that products are of bf16 values.
    """

    chunks: tuple[int, ...]
    activation: bool
    residuals: int
    double: bool
    half: bool

    @property
    def name(self) -> str:
        """The name of the layer's function in the compiled module."""
        flags = f"{int(self.activation)}{self.residuals}{int(self.double)}{int(self.half)}"
        return f"layer_{'_'.join(map(str, self.chunks))}_{flags}"

    @property
    def element(self) -> ir.Type:
        """The type of the operands of its products."""
        return HALF if self.half else FLOAT

    @property
    def transforms(self) -> Transforms:
        """The transforms of its inputs, weights and products."""
        return DOUBLED if self.double else PLAIN


class StepWriter(Emitter):
    """Writer of the steps for vectors of `width` floats and a processor with `registers` vector registers."""

    def __init__(self, width: int, registers: int) -> None:
        super().__init__()
        self.width = width
        self.registers = registers
        self.vector = ir.VectorType(FLOAT, width)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = ir.Function(self.module, kind, f"llvm.fma.v{width}f32")
        self._functions: dict[str, ir.Function] = {}
        self._constants: dict[float, ir.Constant] = {}

    def rows_at_once(self, vectors: int) -> int:
        """Return how many rows of a matrix product fit the registers, beside the weights and one input value."""
        return max(1, (self.registers - vectors - 1) // vectors)

    # Helpers

    def _function(self, name: str, arguments: int, pointers: tuple[int, ...]) -> tuple[ir.Function, ir.IRBuilder]:
        kinds = [POINTER if i in pointers else INT for i in range(arguments)]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), name)
        for i in pointers:
            function.args[i].add_attribute("noalias")
        self._functions[name] = function
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    def _at(self, b: ir.IRBuilder, base: ir.Value, *offsets: ir.Value, element: ir.Type = FLOAT) -> ir.Value:
        """Return the address `offsets` values after `base`; they are floats unless `element` is another type."""
        whole = offsets[0]
        for offset in offsets[1:]:
            whole = b.add(whole, offset)
        return b.gep(base, [whole], source_etype=element)

    def _load(self, b: ir.IRBuilder, address: ir.Value) -> ir.Value:
        return b.load(address, typ=self.vector, align=4)

    def _constant(self, value: float) -> ir.Constant:
        if value not in self._constants:
            self._constants[value] = ir.Constant(self.vector, [value] * self.width)
        return self._constants[value]

    def _mad(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return b.call(self._fma, [x, y, z])

    def _arithmetic(self, b: ir.IRBuilder) -> Arithmetic[ir.Value]:
        def mad(x: ir.Value, c: float, y: ir.Value | None) -> ir.Value:
            return b.fmul(x, self._constant(c)) if y is None else self._mad(b, x, self._constant(c), y)

        return Arithmetic(b.fadd, b.fsub, mad)

    def _twice(
        self, grid: list[list[ir.Value]], transform: Callable[[list[ir.Value]], list[ir.Value]]
    ) -> list[list[ir.Value]]:
        """Apply `transform` to every column, then to every row."""
        columns = [transform([row[j] for row in grid]) for j in range(len(grid[0]))]
        return [transform([column[i] for column in columns]) for i in range(len(columns[0]))]

    # The three steps

    def input(self, double: bool, element: ir.Type) -> ir.Function:
        """Transform `n` tiles of one row to values of `element`: (x, pixel, row, v, plane, inputs, groups, n)."""
        name = f"input_{int(double)}_{element}"
        if name in self._functions:
            return self._functions[name]
        offsets = (0, 1, 1, 2, 2, 3) if double else tuple(range(INPUT))
        function, b = self._function(name, 8, (0, 3))
        x, pixel, row, v, plane, inputs, groups, n = function.args
        step = b.mul(pixel, INT(OUTPUT // 2 if double else OUTPUT))
        ups = [b.mul(row, INT(o)) for o in range(max(offsets) + 1)]
        sides = [b.mul(pixel, INT(o)) for o in range(max(offsets) + 1)]
        with self.loop(b, n) as tile, self.loop(b, groups) as group:
            channel = b.mul(group, INT(self.width))
            start = self._at(b, x, b.mul(tile, step), channel)
            read = {
                (i, j): self._load(b, self._at(b, start, ups[i], sides[j])) for i in set(offsets) for j in set(offsets)
            }
            grid = [[read[i, j] for j in offsets] for i in offsets]
            op = self._arithmetic(b)
            transforms = DOUBLED if double else PLAIN
            transformed = self._twice(grid, lambda d: transforms.input_rows(d, op))
            target = self._at(b, v, b.mul(tile, inputs), channel, element=element)
            for k, value in enumerate(value for line in transformed for value in line):
                there = self._at(b, target, b.mul(plane, INT(k)), element=element)
                rounded = value if element is FLOAT else b.fptrunc(value, ir.VectorType(element, self.width))
                b.store(rounded, there, align=2)
        b.ret_void()
        return function

    def product(self, vectors: int, element: ir.Type) -> ir.Function:
        """Compute one matrix product, R rows at once: (v, u, m, inputs, outputs, times); v is times*R x inputs.

        In bf16, u is inputs/2 x outputs x 2, and each step takes two inputs.
        """
        name = f"product_{vectors}_{element}"
        if name in self._functions:
            return self._functions[name]
        together = self.rows_at_once(vectors)
        function, b = self._function(name, 6, (0, 1, 2))
        v, u, m, inputs, outputs, times = function.args
        half = element is HALF
        operand, steps = (WORD, b.lshr(inputs, INT(1))) if half else (FLOAT, inputs)
        multiply = self._mad_pairs if half else self._mad
        with self.loop(b, times) as time:
            first = b.mul(time, INT(together))
            lines = [self._at(b, v, b.mul(b.add(first, INT(r)), inputs), element=element) for r in range(together)]
            before = b.block
            head, after = b.append_basic_block("sum"), b.append_basic_block("summed")
            b.branch(head)
            b.position_at_end(head)
            k = b.phi(INT)
            k.add_incoming(INT(0), before)
            sums = [[b.phi(self.vector) for _ in range(vectors)] for _ in range(together)]
            factors = [self._load(b, self._at(b, u, b.mul(k, outputs), INT(i * self.width))) for i in range(vectors)]
            nexts = []
            for r in range(together):
                there = self._at(b, lines[r], k, element=operand)
                value = self.splat(b, b.load(there, typ=operand, align=4), self.width)
                nexts.append([multiply(b, factors[i], value, sums[r][i]) for i in range(vectors)])
            for r in range(together):
                for i in range(vectors):
                    sums[r][i].add_incoming(self._constant(0.0), before)
                    sums[r][i].add_incoming(nexts[r][i], b.block)
            following = b.add(k, INT(1))
            k.add_incoming(following, b.block)
            b.cbranch(b.icmp_signed("<", following, steps), head, after)
            b.position_at_end(after)
            for r in range(together):
                target = self._at(b, m, b.mul(b.add(first, INT(r)), outputs))
                for i in range(vectors):
                    b.store(nexts[r][i], self._at(b, target, INT(i * self.width)), align=4)
        b.ret_void()
        return function

    def _mad_pairs(self, b: ir.IRBuilder, weights: ir.Value, value: ir.Value, sums: ir.Value) -> ir.Value:
        """Add two inputs, a pair of bf16 in each word of `value`, times two weights in each word of `weights`, to `sums`."""
        pairs = ir.VectorType(HALF, 2 * self.width)
        dot = self.external("llvm.x86.avx512bf16.dpbf16ps.512", self.vector, self.vector, pairs, pairs)
        return b.call(dot, [sums, b.bitcast(value, pairs), b.bitcast(weights, pairs)])

    def output(self, shape: Shape) -> ir.Function:
        """Transform back: (m, plane, outputs, bias, slopes, out, pixel, row, groups, n, then r and q: address, pixel, row, factor)."""
        name = f"output_{int(shape.activation)}{shape.residuals}{int(shape.double)}"
        if name in self._functions:
            return self._functions[name]
        function, b = self._function(name, 18, (0, 3, 4, 5, 10, 13, 14, 17))
        m, plane, outputs, bias, slopes, out, pixel, row, groups, n = function.args[:10]
        added = [function.args[10:14], function.args[14:18]][: shape.residuals]
        factors = [self.splat(b, b.load(a[3], typ=FLOAT), self.width) for a in added]
        with self.loop(b, n) as tile, self.loop(b, groups) as group:
            channel = b.mul(group, INT(self.width))
            source = self._at(b, m, b.mul(tile, outputs), channel)
            count = len(shape.transforms.rows)
            grid = [
                [self._load(b, self._at(b, source, b.mul(plane, INT(i * count + j)))) for j in range(count)]
                for i in range(count)
            ]
            op = self._arithmetic(b)
            transformed = self._twice(grid, lambda m: shape.transforms.output_rows(m, op))
            offset = self._load(b, self._at(b, bias, channel))
            slope = self._load(b, self._at(b, slopes, channel)) if shape.activation else None
            for i in range(OUTPUT):
                for j in range(OUTPUT):
                    value = b.fadd(transformed[i][j], offset)
                    if slope is not None:
                        zero = self._constant(0.0)
                        value = b.select(b.fcmp_ordered(">", value, zero), value, b.fmul(value, slope))
                    across = b.add(b.mul(tile, INT(OUTPUT)), INT(j))
                    for a, factor in zip(added, factors, strict=True):
                        there = self._at(b, a[0], b.mul(across, a[1]), b.mul(a[2], INT(i)), channel)
                        value = self._mad(b, self._load(b, there), factor, value)
                    target = self._at(b, out, b.mul(across, pixel), b.mul(row, INT(i)), channel)
                    b.store(value, target, align=4)
        b.ret_void()
        return function
