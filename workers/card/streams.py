"""Passing of tensors from one thread's CUDA stream to another's, so that copies and computation overlap; a no-op elsewhere.

It follows CUDA's rules for streams, events and the caching allocator; tests/workers/generators/test_cuda.py runs a film with it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sent:
    """A tensor, and the event after which its values are valid (None: they are valid now)."""

    tensor: torch.Tensor
    ready: torch.cuda.Event | None


def own_stream(device: str) -> contextlib.AbstractContextManager[object]:
    """Return a context manager, which can be entered repeatedly, that runs this thread's work on `device` in its own stream."""
    if torch.device(device).type != "cuda":
        return contextlib.nullcontext()
    stream: torch.cuda.Stream = torch.cuda.Stream(torch.device(device))  # type: ignore[no-untyped-call]
    return torch.cuda.stream(stream)


def send(tensor: torch.Tensor) -> Sent:
    """Wrap a tensor of this thread's stream, computed or still pending, for another thread."""
    if tensor.device.type != "cuda":
        return Sent(tensor, None)
    return Sent(tensor, torch.cuda.current_stream(tensor.device).record_event())


def receive(sent: Sent) -> torch.Tensor:
    """Return the tensor for use on this thread's stream, which waits for it; the host does not wait."""
    if sent.ready is not None:
        stream = torch.cuda.current_stream(sent.tensor.device)
        stream.wait_event(sent.ready)
        sent.tensor.record_stream(stream)  # else its memory could be reused while this stream still reads it
    return sent.tensor
