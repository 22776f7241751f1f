"""Files that appear whole or not at all, and names that get a longer end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

LONGEST = 255
"""Bytes of a file's name on the disks that archives use."""


def unfinished(path: Path) -> Path:
    """Return where `path` is written before it is whole: beside it, hidden, of this process, and short whatever its name."""
    return path.with_name(f".respool-{os.getpid()}-{sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Give a new file's temporary path; rename it to `path` afterwards, or remove it when the block raises.

    With `durable`, the bytes are on disk before the name changes, so that a power cut leaves the old or the new file.
    """
    part = unfinished(path)
    try:
        yield part
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, durable: bool = False, private: bool = False) -> None:
    """Replace `path` with `data`; `durable` as in `replacing`, `private` for a file that only its owner may read."""
    with replacing(path, durable) as part:
        mode = 0o600 if private else 0o666
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:  # noqa: PTH123 - mode at birth
            stream.write(data)


def sync(path: Path) -> None:
    """Put a file's bytes, or the names in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ended(name: str, end: str) -> str:
    """Return `name` with `end` behind it, cut between letters before it where that would be too long for a disk."""
    return os.fsencode(name)[: LONGEST - len(end.encode())].decode(errors="ignore") + end
