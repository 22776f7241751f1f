"""Compatibility imports of basicsr, gfpgan and facexlib, which need a module that torchvision dropped in 0.17.

An alias stands in for the module; only this file knows about it. Importing the packages also emits deprecation warnings of
scipy and torch and turns numpy's floating point warnings off for the whole process; both effects are undone after the import.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
from torchvision.transforms import functional  # type: ignore[import-untyped]

_NAME = "torchvision.transforms.functional_tensor"


def load(module: str) -> Any:
    """Import `module` of basicsr, gfpgan or facexlib."""
    if _NAME not in sys.modules:
        alias = ModuleType(_NAME)
        alias.__dict__["rgb_to_grayscale"] = functional.rgb_to_grayscale
        sys.modules[_NAME] = alias
    with warnings.catch_warnings(), np.errstate():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)
