"""Conversion of R'G'B' to Y'CbCr 4:2:0 in one pass; `colour.from_rgb` uses it for nearly every film.

PyTorch reads or writes planes of floats about twenty times for it. Here a chroma row is computed from the five image rows that its
filter covers, which the cache still holds from the previous row, together with its two luma rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from workers.llvm.emit import FLOAT, INT, POINTER, Emitter, Fields, at
from workers.llvm.machine import Machine, vectors

TAPS = 5
"""Samples that the filter of one chroma sample covers along one axis."""

_NAME = "yuv420"
_WIDEST = 16
"""Floats in the widest vector."""

_ENDS = 2
"""Columns at either end of a chroma row whose filters differ from those of all others."""

_NAMES = ("y_r", "y_g", "y_b", "black", "cb_r", "cb_g", "cb_b", "cr_r", "cr_g", "cr_b", "neutral", "most")
_FIELDS = (
    "r", "g", "b", "row", "width", "height",
    "y", "y_row", "cb", "cb_row", "cr", "cr_row", "columns", "lines",
    "line_starts", "line_taps", "column_starts", "column_taps", "numbers",
)  # fmt: skip
"""The 64-bit arguments: addresses of planes and tables, sizes in samples, and the bytes from row to row."""


@dataclass(frozen=True)
class Filter:
    """A filter that halves the samples along one axis to n.

    Output i is the sum of TAPS samples from `starts[i]` on, times `taps[i]`; `starts` is n int64, `taps` is n x TAPS float32.
    """

    starts: npt.NDArray[np.int64]
    taps: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Numbers:
    """The weights of R, G and B in the code values of Y, Cb and Cr, the codes of black and neutral chroma, and the largest code."""

    y: tuple[float, float, float]
    black: float
    cb: tuple[float, float, float]
    cr: tuple[float, float, float]
    neutral: float
    most: float


def supported(height: int, width: int) -> bool:
    """Return whether this processor has vectors and the image has enough rows and columns to fill them."""
    found = vectors()
    return found is not None and width >= 2 * (found[0] + 2 * _ENDS) and height >= TAPS


def convert(
    rgb: npt.NDArray[np.float32], planes: list[npt.NDArray[Any]], lines: Filter, columns: Filter, numbers: Numbers
) -> None:
    """Fill `planes` from `rgb`, 3 x H x W: Y of H x W, Cb and Cr of half as many rows and columns, uint8 or uint16.

    The samples of a row must be contiguous. Codes are rounded to the nearest, halves to even, and clipped to the range. The global
    interpreter lock is released.
    """
    table = np.array([*numbers.y, numbers.black, *numbers.cb, *numbers.cr, numbers.neutral, numbers.most], np.float32)
    y, cb, cr = planes
    values = {
        "r": rgb[0].ctypes.data, "g": rgb[1].ctypes.data, "b": rgb[2].ctypes.data, "row": rgb.strides[1],
        "height": rgb.shape[1], "width": rgb.shape[2],
        "y": y.ctypes.data, "y_row": y.strides[0], "cb": cb.ctypes.data, "cb_row": cb.strides[0],
        "cr": cr.ctypes.data, "cr_row": cr.strides[0], "lines": cb.shape[0], "columns": cb.shape[1],
        "line_starts": lines.starts.ctypes.data, "line_taps": lines.taps.ctypes.data,
        "column_starts": columns.starts.ctypes.data, "column_taps": columns.taps.ctypes.data,
        "numbers": table.ctypes.data,
    }  # fmt: skip
    fields = np.array([values[name] for name in _FIELDS], np.int64)
    scratch = np.empty(2 * rgb.shape[2] + _WIDEST, np.float32)
    machine = _machine(y.itemsize)  # held while its function runs
    machine.functions[_NAME](fields.ctypes.data, scratch.ctypes.data, 0)


@lru_cache
def _machine(size: int) -> Machine:
    found = vectors()
    assert found is not None, "called although `supported` returns False"
    return Machine(str(_Writer(found[0], size).module), [_NAME])


class _Writer(Emitter):
    """Writer of the function (fields, scratch memory for two rows of differences and a vector, unused).

    `width` is the floats in a vector; `size` is the bytes of a code value, 1 or 2.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self._width = width
        self._vector = ir.VectorType(FLOAT, width)
        self._word, self._size = ir.IntType(8 * size), size
        self._fma = self._intrinsic("fma", 3)
        self._round = self._intrinsic("roundeven", 1)
        self._smaller = self._intrinsic("minnum", 2)
        self._larger = self._intrinsic("maxnum", 2)
        kind = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, INT])
        function = ir.Function(self.module, kind, _NAME)
        fields, self._scratch, _ = function.args
        self._b = b = ir.IRBuilder(function.append_basic_block("entry"))
        self._f: Fields = {
            name: b.load(b.gep(fields, [INT(i)], source_etype=INT), typ=INT) for i, name in enumerate(_FIELDS)
        }
        numbers = b.inttoptr(self._f["numbers"], POINTER)
        self._n = {
            name: self.splat(b, b.load(at(b, numbers, INT(4 * i)), typ=FLOAT), width) for i, name in enumerate(_NAMES)
        }
        with self.loop(b, self._f["lines"]) as line:
            self._differences(line)
            for k, plane in enumerate(("cb", "cr")):
                self._chroma(line, k, plane)
            first = b.mul(line, INT(2))
            left = b.sub(self._f["height"], first)
            with self.loop(b, b.select(b.icmp_signed("<", left, INT(2)), left, INT(2))) as second:
                self._luma(b.add(first, second))
        b.ret_void()

    def _intrinsic(self, name: str, arguments: int) -> ir.Function:
        kind = ir.FunctionType(self._vector, [self._vector] * arguments)
        return ir.Function(self.module, kind, f"llvm.{name}.v{self._width}f32")

    def _load(self, base: ir.Value, *offsets: ir.Value) -> ir.Value:
        return self._b.load(at(self._b, base, *offsets), typ=self._vector, align=4)

    def _weighed(self, of: str, colours: list[ir.Value], more: ir.Value) -> ir.Value:
        """Return `more` plus R, G and B times their weights in `of`."""
        for colour, value in zip("rgb", colours, strict=True):
            more = self._b.call(self._fma, [value, self._n[f"{of}_{colour}"], more])
        return more

    def _store(self, value: ir.Value, to: ir.Value) -> None:
        """Store `value` as code values; NaN becomes 0."""
        b = self._b
        zero = ir.Constant(self._vector, [0.0] * self._width)
        kept = b.call(self._smaller, [b.call(self._larger, [b.call(self._round, [value]), zero]), self._n["most"]])
        words = b.trunc(
            b.fptosi(kept, ir.VectorType(ir.IntType(32), self._width)), ir.VectorType(self._word, self._width)
        )
        b.store(words, to, align=self._size)

    def _vectors(self, count: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return how many vectors (at least one) cover `count` samples, and the start of the last, which may overlap the one before."""
        b, width = self._b, INT(self._width)
        return b.sdiv(b.add(count, b.sub(width, INT(1))), width), b.sub(count, width)

    def _from(self, n: ir.Value, last: ir.Value) -> ir.Value:
        """Return the sample at which vector `n` begins."""
        b = self._b
        start = b.mul(n, INT(self._width))
        return b.select(b.icmp_signed("<", start, last), start, last)

    def _luma(self, line: ir.Value) -> None:
        b, f = self._b, self._f
        count, last = self._vectors(f["width"])
        with self.loop(b, count) as n:
            start = self._from(n, last)
            here = b.add(b.mul(line, f["row"]), b.mul(start, INT(4)))
            colours = [self._load(b.inttoptr(f[c], POINTER), here) for c in "rgb"]
            to = at(b, b.inttoptr(f["y"], POINTER), b.mul(line, f["y_row"]), b.mul(start, INT(self._size)))
            self._store(self._weighed("y", colours, self._n["black"]), to)

    def _differences(self, line: ir.Value) -> None:
        """Compute Cb and Cr for every column, in code values around 0, from the rows that the filter of chroma row `line` covers."""
        b, f = self._b, self._f
        start = b.load(at(b, b.inttoptr(f["line_starts"], POINTER), b.mul(line, INT(8))), typ=INT)
        taps = at(b, b.inttoptr(f["line_taps"], POINTER), b.mul(line, INT(4 * TAPS)))
        weights = [self.splat(b, b.load(at(b, taps, INT(4 * k)), typ=FLOAT), self._width) for k in range(TAPS)]
        rows = [b.mul(b.add(start, INT(k)), f["row"]) for k in range(TAPS)]
        count, last = self._vectors(f["width"])
        zero = ir.Constant(self._vector, [0.0] * self._width)
        with self.loop(b, count) as n:
            column = b.mul(self._from(n, last), INT(4))
            sums = []
            for c in "rgb":
                value = zero
                for row, weight in zip(rows, weights, strict=True):
                    value = b.call(self._fma, [self._load(b.inttoptr(f[c], POINTER), row, column), weight, value])
                sums.append(value)
            for k, plane in enumerate(("cb", "cr")):
                b.store(self._weighed(plane, sums, zero), at(b, self._row(k), column), align=4)

    def _row(self, k: int) -> ir.Value:
        """Return the address of the differences of Cb (0) or Cr (1), or of the memory for one vector after them (2)."""
        return at(self._b, self._scratch, self._b.mul(self._f["width"], INT(4 * k)))

    def _chroma(self, line: ir.Value, k: int, plane: str) -> None:
        """Compute one row of one chroma plane from its differences."""
        b, f = self._b, self._f
        row = self._row(k)
        out = at(b, b.inttoptr(f[plane], POINTER), b.mul(line, f[f"{plane}_row"]))
        inner = b.sub(f["columns"], INT(2 * _ENDS))
        count, last = self._vectors(inner)
        common = at(b, b.inttoptr(f["column_taps"], POINTER), INT(4 * TAPS * _ENDS))
        weights = [self.splat(b, b.load(at(b, common, INT(4 * t)), typ=FLOAT), self._width) for t in range(TAPS)]
        with self.loop(b, count) as n:
            column = b.add(self._from(n, last), INT(_ENDS))
            value = self._n["neutral"]
            for pair in range(3):
                both = [self._load(row, b.mul(column, INT(8)), INT(4 * (2 * pair - 2 + s))) for s in (0, self._width)]
                for odd in range(2 if pair < 2 else 1):
                    value = b.call(self._fma, [self._every_second(both, odd), weights[2 * pair + odd], value])
            self._store(value, at(b, out, b.mul(column, INT(self._size))))
        for first in (INT(0), b.sub(f["columns"], INT(_ENDS))):
            with self.loop(b, INT(_ENDS)) as n:
                self._end(row, out, b.add(first, n))

    def _every_second(self, both: list[ir.Value], odd: int) -> ir.Value:
        picked = ir.Constant(ir.VectorType(ir.IntType(32), self._width), [2 * i + odd for i in range(self._width)])
        return self._b.shuffle_vector(*both, picked)

    def _end(self, row: ir.Value, out: ir.Value, column: ir.Value) -> None:
        """Compute one sample near the end of a row, which has a filter of its own."""
        b, f = self._b, self._f
        start = b.load(at(b, b.inttoptr(f["column_starts"], POINTER), b.mul(column, INT(8))), typ=INT)
        taps = at(b, b.inttoptr(f["column_taps"], POINTER), b.mul(column, INT(4 * TAPS)))
        value = self._n["neutral"]
        for t in range(TAPS):
            sample = b.load(at(b, row, b.mul(b.add(start, INT(t)), INT(4))), typ=FLOAT)
            weight = b.load(at(b, taps, INT(4 * t)), typ=FLOAT)
            value = b.call(self._fma, [self.splat(b, sample, self._width), self.splat(b, weight, self._width), value])
        self._store(value, self._row(2))
        word = b.load(self._row(2), typ=self._word, align=self._size)
        b.store(word, at(b, out, b.mul(column, INT(self._size))), align=self._size)
