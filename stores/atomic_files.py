"""Names on the archivist's disk: where a file is written before it takes its own, and names that get a longer end."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

LONGEST = 255
"""Bytes of a file's name on the disks that archives use."""


def unfinished(path: Path) -> Path:
    """Where `path` is written before it is whole: beside it, hidden, of this process, and short whatever its own name is."""
    return path.with_name(f".respool-{os.getpid()}-{sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")


def ended(name: str, end: str) -> str:
    """`name` with `end` behind it, cut between letters before it where that would be too long for a disk."""
    return os.fsencode(name)[: LONGEST - len(end.encode())].decode(errors="ignore") + end
