"""Tensors that go from one thread's CUDA stream to another's, so that copies and computing overlap; on other devices, nothing.

By CUDA's rules for streams, events and the caching allocator; tests/workers/generators/test_cuda.py runs a film through it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Handed:
    """A tensor, and the moment from which on it holds what it should (None: at once)."""

    tensor: torch.Tensor
    ready: torch.cuda.Event | None


def own_stream(device: str) -> contextlib.AbstractContextManager[object]:
    """While it is entered (again and again if need be), this thread's work on `device` goes to one stream of its own."""
    if torch.device(device).type != "cuda":
        return contextlib.nullcontext()
    stream: torch.cuda.Stream = torch.cuda.Stream(torch.device(device))  # type: ignore[no-untyped-call]
    return torch.cuda.stream(stream)


def hand(tensor: torch.Tensor) -> Handed:
    """Hand on what this thread's stream has made, or will have."""
    if tensor.device.type != "cuda":
        return Handed(tensor, None)
    return Handed(tensor, torch.cuda.current_stream(tensor.device).record_event())


def take(handed: Handed) -> torch.Tensor:
    """The tensor, for use on this thread's stream, which waits for it; the host does not."""
    if handed.ready is not None:
        stream = torch.cuda.current_stream(handed.tensor.device)
        stream.wait_event(handed.ready)
        handed.tensor.record_stream(stream)  # or its memory might be given away while this stream still reads it
    return handed.tensor
