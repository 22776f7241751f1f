"""A small copy on the host of what a device is still computing."""

from __future__ import annotations

import torch


class HostCopy:
    """A copy of a tensor on the host, begun at once behind the work of this thread's stream, and waited for when it is read.

    `ready` is the event after which it is there, and all that the stream did before it; None where no stream is: on the CPU and on MPS.
    """

    def __init__(self, values: torch.Tensor) -> None:
        """Begin to copy `values`; the host does not wait."""
        self._values = values
        self.ready: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self.ready = torch.cuda.current_stream(values.device).record_event()

    def read(self) -> torch.Tensor:
        """Wait for the copy, and return it."""
        if self.ready is not None:
            self.ready.synchronize()
        return self._values.cpu()
