"""The card that a kernel is launched on: the current one of the thread, which need not be that of the arguments."""

from __future__ import annotations

import contextlib
import threading

import torch

_INTERPRETER = threading.Lock()


def launching_on(tensor: torch.Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context in which the card that holds `tensor` is the current one.

    On a processor Triton interprets, and does so for one kernel at a time: it replaces its own functions meanwhile.
    """
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else _INTERPRETER
