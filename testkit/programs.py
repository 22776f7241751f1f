"""Benchmarks that start themselves again, in processes of their own."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


def command_of(spec: ModuleSpec | None, *arguments: object) -> list[str]:
    """Return the command line that runs the module of `spec`, its own `__spec__`, with `arguments`."""
    if spec is None:
        raise RuntimeError("this module was not imported by name; run it with python -m")
    return [sys.executable, "-m", spec.name, *map(str, arguments)]
