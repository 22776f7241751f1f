"""Damage, seeded: what failing discs, interrupted transfers and bad cables do to files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PROTECTED = 0.05
"""The first part of a file is left alone, so that there is still a film to speak of."""


def scrambled(data: bytes, seed: int, spots: int = 6) -> bytes:
    """Overwrite a few short stretches with noise."""
    rng = np.random.default_rng(seed)
    broken = bytearray(data)
    low = int(len(data) * PROTECTED)
    for _ in range(spots):
        at = int(rng.integers(low, len(data) - 16))
        size = int(rng.integers(1, 64))
        broken[at : at + size] = rng.integers(0, 256, min(size, len(data) - at), dtype=np.uint8).tobytes()
    return bytes(broken)


def dropped(data: bytes, seed: int) -> bytes:
    """Remove a stretch of bytes."""
    rng = np.random.default_rng(seed)
    at = int(rng.integers(int(len(data) * 0.3), int(len(data) * 0.7)))
    size = int(rng.integers(200, max(400, len(data) // 20)))
    return data[:at] + data[at + size :]


def truncated(data: bytes, seed: int) -> bytes:
    """Cut off the end."""
    rng = np.random.default_rng(seed)
    return data[: int(len(data) * rng.uniform(0.4, 0.95))]


def zeroed(data: bytes, seed: int) -> bytes:
    """Overwrite a block with zeros, as a disc returns for a bad sector."""
    rng = np.random.default_rng(seed)
    at = int(rng.integers(int(len(data) * PROTECTED), len(data) - 600))
    return data[:at] + bytes(512) + data[at + 512 :]


APPLY: dict[str, Callable[[bytes, int], bytes]] = {
    "scrambled": scrambled,
    "dropped": dropped,
    "truncated": truncated,
    "zeroed": zeroed,
}


def drop_head(data: bytes, share: float) -> bytes:
    """Cut off the start of a transport stream, as if its recording began in the middle."""
    at = int(len(data) * share) // 188 * 188
    tables = data[: 188 * 3]  # SDT, PAT, PMT, as a receiver sees them first
    return tables + data[at:]


def no_moov(data: bytes) -> bytes:
    """Cut off an mp4 before its index, as if its recording was interrupted."""
    at = data.find(b"moov")
    return data[: at - 4] if at > 0 else data


def no_parameter_sets(data: bytes) -> bytes:
    """Remove SPS and PPS from a raw H.264 stream."""
    parts = data.split(b"\0\0\1")
    kept = [p for p in parts[1:] if p and p[0] & 31 not in (7, 8)]
    return b"\0\0\1" + b"\0\0\1".join(kept)
