"""Helpers to emit LLVM code: a module, loops, and addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

INT = ir.IntType(64)
FLOAT = ir.FloatType()
POINTER = ir.PointerType()
BYTE = ir.IntType(8)

Fields = dict[str, ir.Value]
"""A function's 64-bit arguments, loaded, by name."""


def at(b: ir.IRBuilder, base: ir.Value, *offsets: ir.Value) -> ir.Value:
    """Return the address `offsets` bytes after `base`."""
    for offset in offsets:
        base = b.gep(base, [offset], source_etype=BYTE)
    return base


def corner(b: ir.IRBuilder, f: Fields, name: str, line: ir.Value, column: ir.Value) -> ir.Value:
    """Return the address of a pixel of the image whose address and strides are the fields `name`, `name`_row and `name`_pixel."""
    down, across = b.mul(line, f[f"{name}_row"]), b.mul(column, f[f"{name}_pixel"])
    return at(b, b.inttoptr(f[name], POINTER), down, across)


class Emitter:
    """Holder of the LLVM module that is being written."""

    def __init__(self) -> None:
        self.module = ir.Module(name="respool")

    @contextmanager
    def loop(self, b: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
        """Repeat the code that is emitted inside for 0 .. count - 1; count may be 0."""
        before = b.block
        head, body, after = (b.append_basic_block(n) for n in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(INT)
        index.add_incoming(INT(0), before)
        b.cbranch(b.icmp_signed("<", index, count), body, after)
        b.position_at_end(body)
        yield index
        index.add_incoming(b.add(index, INT(1)), b.block)
        b.branch(head)
        b.position_at_end(after)

    def splat(self, b: ir.IRBuilder, scalar: ir.Value, width: int) -> ir.Value:
        """Return a vector of `width` floats that all equal `scalar`."""
        vector = ir.Constant(ir.VectorType(FLOAT, width), ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
        return b.shuffle_vector(b.insert_element(vector, scalar, ir.IntType(32)(0)), vector, zeros)
