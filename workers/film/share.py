"""The share of a worker that a chunk of a film has while others are encoded beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from workers.film.frame_pool import FramePool

AHEAD_BYTES = 1 << 30
"""Bytes of a chunk's frames that may wait for its encoder: 145 frames of 2560x1920 in 4:2:0, nearly a chunk of animevideov3 at 640x480."""
_THREADS_PER_CORE = 1.5
"""As many as x264 takes by itself."""


@dataclass(frozen=True)
class Share:
    """A chunk's share: `threads` of x264, 0 for as many as it takes by itself, and the bytes that the networks may be `ahead` of it.

    All chunks of a share use the memory of each other's `frames` again.
    """

    threads: int = 0
    ahead: int = 0
    frames: FramePool = field(default_factory=lambda: FramePool(AHEAD_BYTES), compare=False, repr=False)


ALONE = Share()
"""The share of a chunk that is alone: all of the machine."""


def share_of(beside: int, cores: int, threads: int = 0) -> Share:
    """Return the share of each chunk where up to `beside` others are encoded at the same time.

    A worker has all `cores` of the machine, or `threads` of them where that is not 0. A chunk that is alone in a worker with all cores
    leaves it to x264 how many threads it takes.
    """
    if beside == 0 and threads == 0:
        return ALONE
    return Share(math.ceil(_THREADS_PER_CORE * (threads or cores) / (beside + 1)), AHEAD_BYTES if beside else 0)
