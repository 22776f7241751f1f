"""The processes that train one run together, and the three things they do together: add, agree, wait."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

_PATIENCE = timedelta(minutes=10)
"""A process that is silent for so long has died on a machine that went away; the others end, and the supervisor starts anew."""


@dataclass(frozen=True)
class Group:
    """This process among `size`; a single process does not communicate."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Tell the process that reports and commits."""
        return self.rank == 0

    def add(self, values: torch.Tensor) -> torch.Tensor:
        """Add `values` over all processes, in place. Its layout is the same each time, so that the sums are too."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def collect(self, value: str) -> list[str]:
        """Return the `value` of every process, by rank."""
        if self.size == 1:
            return [value]
        gathered: list[str] = [""] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()


def join(device: torch.device) -> Group:
    """Join the group that torchrun's environment describes; alone when there is none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Group()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    return Group(dist.get_rank(), dist.get_world_size())
