"""The tile rows of several layers as one run of machine code: each row in blocks of tiles, rows in the order of a list.

A block's transformed inputs and products stay in the second-level cache. While its products are summed, which needs no memory
beyond that cache, the next block's inputs are fetched. A row of tiles begins when the rows of the layer before it that it reads
are done, by any thread; so results go from layer to layer through the last cache and not through memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from workers.generators.native.winograd import INPUT, OUTPUT
from workers.generators.native.winograd_code import Shape, StepWriter
from workers.llvm.emit import INT, POINTER, WORD

PAD = 16
"""Values between the planes of products: without them, planes lie a multiple of 2 KiB apart and evict each other from the cache."""

FIELDS = (
    "columns", "height", "width", "block", "inputs",
    "x", "x_pixel", "x_row", "x_groups",
    "y", "y_pixel", "y_row", "y_groups",
    "weights", "bias", "slopes",
    "out", "out_pixel", "out_row",
    "r", "r_pixel", "r_row", "r_factor",
    "q", "q_pixel", "q_row", "q_factor",
)  # fmt: skip
"""The 64-bit arguments of a layer: addresses, and strides and sizes counted in float32 values.

`columns` counts tiles, `block` the tiles processed at once; `height` and `width` are the output's in pixels. `x` and `y` are the
two parts that hold the input channels; `r` and `q` are added to the result, times the numbers that `r_factor` and `q_factor` point
to. `groups` count whole vectors. Weights are float32, or bf16 for a layer in bf16.
"""

PLAN = ("counter", "count", "rows", "done")
"""The 64-bit arguments of a run: where the number of rows begun is, how many there are, their list, and a flag for each."""

ROW = ("shape", "fields", "row", "flag", "needs", "end")
"""The 64-bit values of a row in the list: the number of its layer's shape, the address of its fields, which row of tiles it is, its
flag, and the first and the end of the flags that must be set before it begins."""


class Writer(StepWriter):
    """Writer of layers, and of `run`, which works through a list of their rows on every thread that calls it."""

    def layer(self, shape: Shape) -> None:
        """Add the layer `shape.name`, which processes one row of tiles: (fields, v, m, row), v and m the thread's own buffers."""
        void = ir.VoidType()
        function = ir.Function(self.module, ir.FunctionType(void, [POINTER, POINTER, POINTER, INT]), shape.name)
        fields, v, m, line = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        f = {
            name: b.load(b.gep(fields, [INT(i)], source_etype=INT), typ=INT, name=name) for i, name in enumerate(FIELDS)
        }
        pointer = {
            name: b.inttoptr(f[name], POINTER)
            for name in ("x", "y", "weights", "bias", "slopes", "out", "r", "q", "r_factor", "q_factor")
        }
        groups = INT(sum(shape.chunks))
        stride = OUTPUT // 2 if shape.double else OUTPUT
        blocks = b.sdiv(b.sub(b.add(f["columns"], f["block"]), INT(1)), f["block"])
        with self.loop(b, blocks) as block:
            first = b.mul(block, f["block"])
            left = b.sub(f["columns"], first)
            n = b.select(b.icmp_signed("<", left, f["block"]), left, f["block"])

            def corner(name: str, tile: int, column: ir.Value = first) -> ir.Value:
                down = b.mul(b.mul(line, INT(tile)), f[f"{name}_row"])
                return self._at(b, pointer[name], down, b.mul(b.mul(column, INT(tile)), f[f"{name}_pixel"]))

            def strides(name: str) -> list[ir.Value]:
                return [f[f"{name}_pixel"], f[f"{name}_row"]]

            plane = b.add(b.mul(f["block"], f["inputs"]), INT(PAD))
            into = self.input(shape.double, shape.element)
            b.call(into, [corner("x", stride), *strides("x"), v, plane, f["inputs"], f["x_groups"], n])
            beside = self._at(b, v, b.mul(f["x_groups"], INT(self.width)), element=shape.element)
            b.call(into, [corner("y", stride), *strides("y"), beside, plane, f["inputs"], f["y_groups"], n])
            following = b.add(first, f["block"])
            ahead = [[corner(name, stride, following), *strides(name), f[f"{name}_groups"]] for name in "xy"]
            self._products(b, shape, f, pointer["weights"], v, m, n, ahead)
            rest: list[ir.Value] = []
            for name in ("r", "q"):
                rest += [corner(name, OUTPUT), *strides(name), pointer[f"{name}_factor"]]
            product_plane = b.add(b.mul(f["block"], b.mul(groups, INT(self.width))), INT(PAD))
            arguments = [m, product_plane, b.mul(groups, INT(self.width)), pointer["bias"], pointer["slopes"]]
            arguments += [corner("out", OUTPUT), *strides("out"), groups, n, *rest]
            b.call(self.output(shape), arguments)
        self._clear(b, f, pointer["out"], groups, line)
        b.ret_void()

    def _products(
        self, b: ir.IRBuilder, shape: Shape, f: dict[str, ir.Value], weights: ir.Value, v: ir.Value, m: ir.Value,
        n: ir.Value, ahead: list[list[ir.Value]],
    ) -> None:  # fmt: skip
        """Compute the matrix products of a block of `n` tiles, and fetch a part of the inputs that lie `ahead` beside each."""
        side = len(shape.transforms.rows)
        outputs = INT(sum(shape.chunks) * self.width)
        plane = b.add(b.mul(f["block"], f["inputs"]), INT(PAD))
        product_plane = b.add(b.mul(f["block"], outputs), INT(PAD))
        with self.loop(b, INT(side**2)) as k:
            for part in ahead if not shape.double else ():  # a doubled input has a quarter of the pixels
                b.call(self._fetch(), [*part, b.mul(f["block"], INT(OUTPUT)), k])
            at = 0
            for chunk in shape.chunks:
                together = self.rows_at_once(chunk)
                times = b.sdiv(b.add(n, INT(together - 1)), INT(together))
                u = self._at(b, weights, b.mul(b.mul(k, f["inputs"]), outputs), element=shape.element)
                u = self._at(b, u, INT(at * self.width))  # outputs lie a float apart: of bf16, as pairs of inputs
                target = self._at(b, m, b.mul(k, product_plane), INT(at * self.width))
                values = self._at(b, v, b.mul(k, plane), element=shape.element)
                product = self.product(chunk, shape.element)
                b.call(product, [values, u, target, f["inputs"], outputs, times])
                at += chunk

    def _fetch(self) -> ir.Function:
        """Fetch one of 36 parts of a block's inputs into the second-level cache: (x, pixel, row, groups, pixels, part)."""
        name = "fetch"
        if name in self._functions:
            return self._functions[name]
        fetch = self.external("llvm.prefetch.p0", ir.VoidType(), POINTER, WORD, WORD, WORD)
        function, b = self._function(name, 6, (0,))
        x, pixel, row, groups, pixels, part = function.args
        down, across = b.sdiv(part, INT(INPUT)), b.srem(part, INT(INPUT))
        each = b.sdiv(b.add(pixels, INT(INPUT - 1)), INT(INPUT))
        start = self._at(b, x, b.mul(down, row), b.mul(b.mul(across, each), pixel))
        with self.loop(b, each) as p, self.loop(b, groups) as group:
            there = self._at(b, start, b.mul(p, pixel), b.mul(group, INT(self.width)))
            b.call(fetch, [there, WORD(0), WORD(2), WORD(1)])  # to read, data, needed soon: x86's prefetcht1
        b.ret_void()
        return function

    def _clear(self, b: ir.IRBuilder, f: dict[str, ir.Value], out: ir.Value, groups: ir.Value, line: ir.Value) -> None:
        """Set what whole tiles have written past the image to zero, as the border must be."""
        end = b.mul(f["columns"], INT(OUTPUT))
        with self.loop(b, INT(OUTPUT)) as i:
            y = b.add(b.mul(line, INT(OUTPUT)), i)
            first = b.select(b.icmp_signed("<", y, f["height"]), f["width"], INT(0))
            with self.loop(b, b.sub(end, first)) as j, self.loop(b, groups) as group:
                across = b.mul(b.add(first, j), f["out_pixel"])
                there = self._at(b, out, b.mul(y, f["out_row"]), across, b.mul(group, INT(self.width)))
                b.store(self._constant(0.0), there, align=4)

    def run(self, shapes: Sequence[Shape]) -> None:
        """Add `run`: (plan, v, m), with the values of `PLAN`; a list's shape is a number in `shapes`.

        Rows are begun in the list's order, and a row needs only rows before it, so a thread that starts late, or never, delays no other.
        """
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, POINTER]), "run")
        plan, v, m = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))

        def values(base: ir.Value, names: Sequence[str]) -> dict[str, ir.Value]:
            return {n: b.load(b.gep(base, [INT(i)], source_etype=INT), typ=INT, name=n) for i, n in enumerate(names)}

        p = values(plan, PLAN)
        done = b.inttoptr(p["done"], POINTER)
        take, work, over = (b.append_basic_block(n) for n in ("take", "work", "over"))
        b.branch(take)
        b.position_at_end(take)
        turn = b.atomic_rmw("add", b.inttoptr(p["counter"], POINTER), INT(1), "monotonic")
        b.cbranch(b.icmp_signed("<", turn, p["count"]), work, over)
        b.position_at_end(work)
        row = values(b.gep(b.inttoptr(p["rows"], POINTER), [b.mul(turn, INT(len(ROW)))], source_etype=INT), ROW)
        with self.loop(b, b.sub(row["end"], row["needs"])) as n:
            flag = b.gep(done, [b.add(row["needs"], n)], source_etype=INT)

            def unset(flag: ir.Value = flag) -> ir.Value:
                return b.icmp_signed("==", b.load_atomic(flag, "acquire", 8, typ=INT), INT(0))

            self.wait(b, unset)
        finished = b.append_basic_block("finished")
        choice = b.switch(row["shape"], finished)
        for number, shape in enumerate(shapes):
            block = b.append_basic_block(shape.name)
            choice.add_case(INT(number), block)
            b.position_at_end(block)
            b.call(self.module.get_global(shape.name), [b.inttoptr(row["fields"], POINTER), v, m, row["row"]])
            b.branch(finished)
        b.position_at_end(finished)
        # An exchange, as llvmlite's atomic store does not know opaque pointers.
        b.atomic_rmw("xchg", b.gep(done, [row["flag"]], source_etype=INT), INT(1), "release")
        b.branch(take)
        b.position_at_end(over)
        b.ret_void()
