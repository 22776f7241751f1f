"""Links in donated folders: those that lead out of the folder are refused."""

from __future__ import annotations

from pathlib import Path


def leads_out(path: Path, folder: Path) -> bool:
    """Return True for a link to something outside `folder`.

    A folder from a donor must not make the submitter upload other files that it can read, such as its credentials.
    """
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link in a circle leads nowhere
        return False
