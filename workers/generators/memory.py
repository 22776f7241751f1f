"""Memory of a device: what is free, and errors where it is short, under one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch


@contextmanager
def memory_errors(release: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Convert every exception that torch raises when a device's memory is short into a MemoryError.

    `release` gives back what the caller keeps on a GPU, before torch's own cache is emptied.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        release()
        torch.cuda.empty_cache()
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        # The CPU allocator has no exception class of its own for this.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def free_memory(device: torch.device) -> int:
    """Return the bytes available on `device`, as the driver or the operating system reports them."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, and free for us
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    return int(psutil.virtual_memory().available)
