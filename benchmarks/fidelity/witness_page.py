"""docs/witness.md: one section a measurement, each written by its command in place of its previous version."""

from __future__ import annotations

from pathlib import Path

PAGE = Path("docs/witness.md")


def put(page: Path, heading: str, body: str) -> None:
    """Write `body` below `## heading`, in place of what stands there, else at the end of the page."""
    mark = f"\n## {heading}\n"
    before, found, rest = page.read_text().partition(mark)
    following = rest.find("\n## ")
    after = rest[following:] if found and following >= 0 else ""
    page.write_text(before.rstrip("\n") + f"\n{mark}\n{body.strip()}\n{after}")


def section(page: Path, heading: str) -> str:
    """Return what stands below `## heading`; empty when nothing does."""
    rest = page.read_text().partition(f"\n## {heading}\n")[2]
    return rest.partition("\n## ")[0]
