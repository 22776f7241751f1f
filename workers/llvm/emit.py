"""Helpers to emit LLVM code: a module, loops, and addresses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir


class Half(ir.Type):  # type: ignore[misc]  # llvmlite ships no types
    """LLVM's type bfloat, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"


INT = ir.IntType(64)
FLOAT = ir.FloatType()
HALF = Half()
WORD = ir.IntType(32)
POINTER = ir.PointerType()
BYTE = ir.IntType(8)

_SPINS = 200
"""Looks at what another thread writes before a waiting thread yields the processor: about ten microseconds."""

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

    def wait(self, b: ir.IRBuilder, unready: Callable[[], ir.Value]) -> None:
        """Wait while the condition that `unready` emits holds; what it reads must be read atomically."""
        before = b.block
        look, wait, spin, rest, on = (b.append_basic_block(n) for n in ("look", "wait", "spin", "rest", "on"))
        b.branch(look)
        b.position_at_end(look)
        turn = b.phi(INT)
        turn.add_incoming(INT(0), before)
        b.cbranch(unready(), wait, on)
        b.position_at_end(wait)
        b.cbranch(b.icmp_signed("<", turn, INT(_SPINS)), spin, rest)
        for block, waiting in ((spin, self._pause()), (rest, self.external("sched_yield", WORD))):
            b.position_at_end(block)
            if waiting is not None:
                b.call(waiting, [])
            turn.add_incoming(b.add(turn, INT(1)), block)
            b.branch(look)
        b.position_at_end(on)

    def _pause(self) -> ir.Function | None:
        on_x86 = os.uname().machine in ("x86_64", "amd64")
        return self.external("llvm.x86.sse2.pause", ir.VoidType()) if on_x86 else None

    def external(self, name: str, returns: ir.Type, *arguments: ir.Type) -> ir.Function:
        """Declare a function of LLVM or the C library, once."""
        known = self.module.globals.get(name)
        return known or ir.Function(self.module, ir.FunctionType(returns, arguments), name)

    def splat(self, b: ir.IRBuilder, scalar: ir.Value, width: int) -> ir.Value:
        """Return a vector of `width` values that all equal `scalar`."""
        vector = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
        return b.shuffle_vector(b.insert_element(vector, scalar, ir.IntType(32)(0)), vector, zeros)
