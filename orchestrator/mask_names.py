"""Names of mask films, which lie beside the results whose changes they show."""

from __future__ import annotations

from pathlib import PurePosixPath

from stores.atomic_files import ended

END = ".masks.mkv"
"""End of a mask film's name, behind the name of its result."""


def mask_name(result: str) -> str:
    """Return the relative path of the mask film of the result `result`; a name too long for a disk is cut."""
    path = PurePosixPath(result)
    return str(path.with_name(ended(path.name, END)))
