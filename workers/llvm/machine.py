"""Compilation of LLVM code to functions of this process; machine code is cached on disk."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm

from stores.atomic_files import write_atomically

Function = Callable[..., None]
"""Takes three addresses (or numbers). Releases Python's global interpreter lock while it runs."""

_CHECK = 16
"""Bytes of the checksum that precedes machine code on disk."""


def features() -> dict[str, bool]:
    """Return what this processor can do, by LLVM's names; all code is made for these."""
    return dict(llvm.get_host_cpu_features())


def vectors() -> tuple[int, int] | None:
    """Return the floats in a vector and the number of vector registers; None for processors without fused multiply-add."""
    able = features()
    if able.get("avx512f"):
        return 16, 32
    if able.get("avx2") and able.get("fma"):
        return 8, 16
    if "neon" in able or os.uname().machine in ("aarch64", "arm64"):
        return 4, 32
    return None


def multiplies_bf16() -> bool:
    """Return whether this processor multiplies vectors of bf16 and sums in fp32 (AVX512_BF16)."""
    able = features()
    return bool(able.get("avx512f") and able.get("avx512bf16"))


def has_matrix_unit() -> bool:
    """Return whether this processor has a matrix unit for bf16 (AMX) and the operating system lets this process use it.

    Linux requires one request, as the unit's registers make a thread's state larger: ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA,
    both in its Documentation/arch/x86/xstate.rst; 158 is arch_prctl.
    """
    able = features()
    if os.uname().sysname != "Linux" or not all(able.get(f) for f in ("amx-tile", "amx-bf16", "avx512bf16")):
        return False
    return bool(ctypes.CDLL(None).syscall(ctypes.c_long(158), ctypes.c_long(0x1023), ctypes.c_long(18)) == 0)


class Machine:
    """One compiled module. Keep it as long as any of its functions is used."""

    def __init__(self, code: str, names: list[str], cache: Path | None = None) -> None:
        """Compile `code` and look up the functions `names`; keep the result below `cache`, if there is one."""
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        able = features()
        cpu, chosen = llvm.get_host_cpu_name(), ",".join(f"{'+' if able[name] else '-'}{name}" for name in sorted(able))
        # LLVM avoids 512-bit vectors on processors where a few of them slow the clock; here nearly all vectors have 512 bits.
        chosen += ",-prefer-256-bit" if able.get("avx512f") else ""
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=cpu, features=chosen, opt=3, reloc="static"
        )
        module = llvm.parse_assembly(code)
        module.triple = llvm.get_default_triple()
        module.data_layout = str(target.target_data)
        self._engine = llvm.create_mcjit_compiler(module, target)
        if cache is None:
            _optimise(module, target)
        else:
            key = hashlib.sha256("|".join((code, cpu, chosen, str(llvm.llvm_version_info))).encode()).hexdigest()
            path = cache / "compiled" / f"{key[:24]}.native"
            self._engine.set_object_cache(lambda _, data: _keep(path, data), lambda _: _kept(path))
            if _kept(path) is None:
                _optimise(module, target)
        self._engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        self.functions: dict[str, Function] = {n: kind(self._engine.get_function_address(n)) for n in names}


def _optimise(module: llvm.ModuleRef, target: llvm.TargetMachine) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)


def _kept(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if data[:_CHECK] == hashlib.blake2b(data[_CHECK:], digest_size=_CHECK).digest():
            return data[_CHECK:]
    return None


def _keep(path: Path, data: bytes) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, hashlib.blake2b(data, digest_size=_CHECK).digest() + data)
