"""The convolution layer as LLVM code, written for one width of vectors and one number of registers.

Threads take rows of tiles from a shared counter until none is left. Each row is processed in blocks of tiles whose transformed
inputs and products stay in the second-level cache: transform the inputs, compute 36 (or 25) small matrix products, transform
back with bias, activation and residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from workers.generators.native.winograd import ALL, DOUBLED, INPUT, OUTPUT, Arithmetic, input_rows, output_rows
from workers.llvm.emit import FLOAT, INT, POINTER, Emitter

PAD = 16
"""Floats between the planes of products: without them, planes lie a multiple of 2 KiB apart and evict each other from the cache."""

FIELDS = (
    "counter", "rows", "columns", "block", "inputs",
    "x", "x_pixel", "x_row", "x_groups",
    "y", "y_pixel", "y_row", "y_groups",
    "weights", "bias", "slopes",
    "out", "out_pixel", "out_row",
    "r", "r_pixel", "r_row", "r_factor",
    "q", "q_pixel", "q_row", "q_factor",
)  # fmt: skip
"""The 64-bit arguments of a layer: addresses of float32 values, and strides and sizes counted in values.

`rows` and `columns` count tiles, `block` the tiles processed at once. `x` and `y` are the two parts that hold the input channels;
`r` and `q` are added to the result, times the numbers that `r_factor` and `q_factor` point to. `groups` count whole vectors.
"""


@dataclass(frozen=True)
class Shape:
    """The properties that a layer is specialised for.

    `chunks` are the vectors of output channels in each matrix product; `residuals` is how many of r and q are added;
    `double` means that the input is an image of half the size, with each pixel repeated.
    """

    chunks: tuple[int, ...]
    activation: bool
    residuals: int
    double: bool

    @property
    def name(self) -> str:
        """The name of the layer's function in the compiled module."""
        return f"layer_{'_'.join(map(str, self.chunks))}_{int(self.activation)}{self.residuals}{int(self.double)}"

    @property
    def products(self) -> tuple[int, ...]:
        """The rows of the transformed input that are not always zero."""
        return DOUBLED if self.double else ALL


class Writer(Emitter):
    """Writer of layers for vectors of `width` floats and a processor with `registers` vector registers."""

    def __init__(self, width: int, registers: int) -> None:
        super().__init__()
        self.width = width
        self.registers = registers
        self.vector = ir.VectorType(FLOAT, width)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = ir.Function(self.module, kind, f"llvm.fma.v{width}f32")
        self._functions: dict[str, ir.Function] = {}

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

    def _at(self, b: ir.IRBuilder, base: ir.Value, *offsets: ir.Value) -> ir.Value:
        """Return the address `offsets` floats after `base`."""
        whole = offsets[0]
        for offset in offsets[1:]:
            whole = b.add(whole, offset)
        return b.gep(base, [whole], source_etype=FLOAT)

    def _load(self, b: ir.IRBuilder, address: ir.Value) -> ir.Value:
        return b.load(address, typ=self.vector, align=4)

    def _constant(self, value: float) -> ir.Constant:
        return ir.Constant(self.vector, [value] * self.width)

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

    def _input(self, double: bool) -> ir.Function:
        """Transform `n` tiles of one row: (x, pixel, row, v, plane, inputs, groups, n)."""
        name = f"input_{int(double)}"
        if name in self._functions:
            return self._functions[name]
        products = DOUBLED if double else ALL
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
            transformed = self._twice(grid, lambda d: input_rows(d, products, op))
            target = self._at(b, v, b.mul(tile, inputs), channel)
            for k, value in enumerate(value for line in transformed for value in line):
                b.store(value, self._at(b, target, b.mul(plane, INT(k))), align=4)
        b.ret_void()
        return function

    def _product(self, vectors: int) -> ir.Function:
        """Compute one matrix product, R rows at once: (v, u, m, inputs, outputs, times); v is times*R x inputs."""
        name = f"product_{vectors}"
        if name in self._functions:
            return self._functions[name]
        together = self.rows_at_once(vectors)
        function, b = self._function(name, 6, (0, 1, 2))
        v, u, m, inputs, outputs, times = function.args
        with self.loop(b, times) as time:
            first = b.mul(time, INT(together))
            lines = [self._at(b, v, b.mul(b.add(first, INT(r)), inputs)) for r in range(together)]
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
                value = self.splat(b, b.load(self._at(b, lines[r], k), typ=FLOAT), self.width)
                nexts.append([self._mad(b, factors[i], value, sums[r][i]) for i in range(vectors)])
            for r in range(together):
                for i in range(vectors):
                    sums[r][i].add_incoming(self._constant(0.0), before)
                    sums[r][i].add_incoming(nexts[r][i], b.block)
            following = b.add(k, INT(1))
            k.add_incoming(following, b.block)
            b.cbranch(b.icmp_signed("<", following, inputs), head, after)
            b.position_at_end(after)
            for r in range(together):
                target = self._at(b, m, b.mul(b.add(first, INT(r)), outputs))
                for i in range(vectors):
                    b.store(nexts[r][i], self._at(b, target, INT(i * self.width)), align=4)
        b.ret_void()
        return function

    def _output(self, shape: Shape) -> ir.Function:
        """Transform back: (m, plane, outputs, bias, slopes, out, pixel, row, groups, n, then r and q: address, pixel, row, factor)."""
        name = f"output_{int(shape.activation)}{shape.residuals}{int(shape.double)}"
        if name in self._functions:
            return self._functions[name]
        products = shape.products
        function, b = self._function(name, 18, (0, 3, 4, 5, 10, 13, 14, 17))
        m, plane, outputs, bias, slopes, out, pixel, row, groups, n = function.args[:10]
        added = [function.args[10:14], function.args[14:18]][: shape.residuals]
        factors = [self.splat(b, b.load(a[3], typ=FLOAT), self.width) for a in added]
        with self.loop(b, n) as tile, self.loop(b, groups) as group:
            channel = b.mul(group, INT(self.width))
            source = self._at(b, m, b.mul(tile, outputs), channel)
            count = len(products)
            grid = [
                [self._load(b, self._at(b, source, b.mul(plane, INT(i * count + j)))) for j in range(count)]
                for i in range(count)
            ]
            op = self._arithmetic(b)
            transformed = self._twice(grid, lambda d: output_rows(d, products, op))
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

    # The layer

    def layer(self, shape: Shape) -> None:
        """Add the layer `shape.name`: (fields, v, m), with v and m the thread's own buffers."""
        into, back = self._input(shape.double), self._output(shape)
        parts = [self._product(c) for c in shape.chunks]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, POINTER]), shape.name)
        fields, v, m = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        f = {
            name: b.load(b.gep(fields, [INT(i)], source_etype=INT), typ=INT, name=name) for i, name in enumerate(FIELDS)
        }
        outputs = INT(sum(shape.chunks) * self.width)
        groups = INT(sum(shape.chunks))
        pointer = {
            name: b.inttoptr(f[name], POINTER)
            for name in ("counter", "x", "y", "weights", "bias", "slopes", "out", "r", "q", "r_factor", "q_factor")
        }
        take = b.append_basic_block("take")
        b.branch(take)
        b.position_at_end(take)
        line = b.atomic_rmw("add", pointer["counter"], INT(1), "monotonic")
        work, done = b.append_basic_block("work"), b.append_basic_block("done")
        b.cbranch(b.icmp_signed("<", line, f["rows"]), work, done)
        b.position_at_end(work)
        stride = OUTPUT // 2 if shape.double else OUTPUT
        blocks = b.sdiv(b.sub(b.add(f["columns"], f["block"]), INT(1)), f["block"])
        with self.loop(b, blocks) as block:
            first = b.mul(block, f["block"])
            left = b.sub(f["columns"], first)
            n = b.select(b.icmp_signed("<", left, f["block"]), left, f["block"])

            def corner(name: str, tile: int) -> ir.Value:
                down = b.mul(b.mul(line, INT(tile)), f[f"{name}_row"])
                return self._at(b, pointer[name], down, b.mul(b.mul(first, INT(tile)), f[f"{name}_pixel"]))

            plane = b.add(b.mul(f["block"], f["inputs"]), INT(PAD))
            b.call(into, [corner("x", stride), f["x_pixel"], f["x_row"], v, plane, f["inputs"], f["x_groups"], n])
            beside = self._at(b, v, b.mul(f["x_groups"], INT(self.width)))
            b.call(into, [corner("y", stride), f["y_pixel"], f["y_row"], beside, plane, f["inputs"], f["y_groups"], n])
            product_plane = b.add(b.mul(f["block"], outputs), INT(PAD))
            with self.loop(b, INT(len(shape.products) ** 2)) as k:
                at = 0
                for chunk, part in zip(shape.chunks, parts, strict=True):
                    together = self.rows_at_once(chunk)
                    times = b.sdiv(b.add(n, INT(together - 1)), INT(together))
                    here = INT(at * self.width)
                    u = self._at(b, pointer["weights"], b.mul(b.mul(k, f["inputs"]), outputs), here)
                    target = self._at(b, m, b.mul(k, product_plane), here)
                    b.call(part, [self._at(b, v, b.mul(k, plane)), u, target, f["inputs"], outputs, times])
                    at += chunk
            rest: list[ir.Value] = []
            for name in ("r", "q"):
                rest += [corner(name, OUTPUT), f[f"{name}_pixel"], f[f"{name}_row"], pointer[f"{name}_factor"]]
            arguments = [m, product_plane, outputs, pointer["bias"], pointer["slopes"]]
            arguments += [corner("out", OUTPUT), f["out_pixel"], f["out_row"], groups, n, *rest]
            b.call(back, arguments)
        b.branch(take)
        b.position_at_end(done)
        b.ret_void()
