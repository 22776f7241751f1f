"""Architecture classes of basicsr, without the two seconds that `import basicsr` takes.

The package's `__init__` imports its training code, data loaders and metrics, and with them a torchvision
module that no longer exists. The architecture files need almost none of that, so they are imported under
stand-in parent packages that have only a search path. The stand-ins are removed from `sys.modules` afterwards, so that
a later `import basicsr` gets the real package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from contract.errors import WeightsError


@lru_cache
def architecture(module: str, name: str) -> Any:
    """Return the class `name` of `basicsr.archs.<module>`; raise WeightsError when basicsr is not installed."""
    if "basicsr" in sys.modules:
        return getattr(importlib.import_module(f"basicsr.archs.{module}"), name)
    spec = importlib.util.find_spec("basicsr")
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the package basicsr, which defines the network's architecture, is not installed; install respool[worker]."
        )
    root = Path(spec.origin).parent
    for package in ("basicsr", "basicsr.archs", "basicsr.utils", "basicsr.ops"):
        stand_in = ModuleType(package)
        stand_in.__path__ = [str(root.joinpath(*package.split(".")[1:]))]
        sys.modules[package] = stand_in
    try:
        # arch_util imports this one name from the package itself; its file needs only the standard library and torch.
        sys.modules["basicsr.utils"].__dict__["get_root_logger"] = importlib.import_module(
            "basicsr.utils.logger"
        ).get_root_logger
        return getattr(importlib.import_module(f"basicsr.archs.{module}"), name)
    finally:
        for loaded in [m for m in sys.modules if m == "basicsr" or m.startswith("basicsr.")]:
            del sys.modules[loaded]
