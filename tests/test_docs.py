"""The documentation against the tree: every path that a page names is there."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "site")
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"))
    # What was true of a past version stays as it was written.
    if path.name != "CHANGELOG.md" and "before_rooms" not in path.parts
)
NAMED = re.compile(r"`((?:" + "|".join(map(re.escape, FOLDERS)) + r")/[^\s`<>]*)`")
MADE = {"docs/fidelity.md", "docs/fidelity-images.md"}
"""Pages that a long run writes: their rows quote names of made films, which are no paths of the tree."""
UNTRACKED = "deploy/compose/secrets/"
"""A folder that the user makes."""


def spelled_out(pattern: str) -> Iterator[str]:
    """Yield the paths that a pattern with {a,b} stands for."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if n % 2 else [part] for n, part in enumerate(parts)]
    yield from ("".join(chosen) for chosen in itertools.product(*choices))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in MADE])
def test_paths_are_there(page: str) -> None:
    """Each path in backticks that begins with a folder of the tree names a file or folder, or matches some."""
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    paths = [path.split("::")[0].rstrip(".,") for pattern in named for path in spelled_out(pattern)]
    assert [path for path in paths if path != UNTRACKED and not [*ROOT.glob(path.rstrip("/"))]] == []
