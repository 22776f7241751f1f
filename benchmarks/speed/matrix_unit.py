"""Peak of a processor's matrix unit (AMX) in bf16 without waiting for memory: products of its registers alone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from llvmlite import ir

from workers.generators.native.matrix import INPUTS, OUTPUTS, PIXELS, SCRATCH, configure_unit
from workers.generators.native.matrix_code import MatrixWriter
from workers.generators.native.memory import ThreadTeam, aligned_zeros
from workers.llvm.emit import BYTE, INT, POINTER
from workers.llvm.machine import Machine, has_matrix_unit

_TURNS = 500_000


class _Writer(MatrixWriter):
    def peak(self) -> None:
        """Add `peak`: (scratch, turns, nothing), which multiplies four times a turn."""
        kinds = [POINTER, INT, INT]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), "peak")
        b = ir.IRBuilder(function.append_basic_block("entry"))
        b.call(self._unit("ldtilecfg", [POINTER]), [function.args[0]])
        for tile in range(8):
            b.call(self._zero, [BYTE(tile)])
        with self.loop(b, function.args[1]):
            for tile in range(4):
                b.call(self._multiply, [BYTE(tile), BYTE(4 + tile // 2), BYTE(6 + tile % 2)])
        b.call(self._unit("tilerelease", []), [])
        b.ret_void()


def peak(rounds: int) -> float:
    """Measure GFLOP/s of all cores together, the best of `rounds`; 0 without such a unit."""
    if not has_matrix_unit():
        return 0.0
    writer, team = _Writer(), ThreadTeam(0)
    writer.peak()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(str(writer.module), ["peak"], Path(folder))
    scratch = [configure_unit(aligned_zeros(SCRATCH, np.uint8)) for _ in range(team.size)]
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        team.run(machine.functions["peak"], [(memory.ctypes.data, _TURNS, 0) for memory in scratch])
        best = min(best, time.perf_counter() - began)
    return team.size * _TURNS * 4 * 2 * PIXELS * INPUTS * OUTPUTS / best / 1e9
