"""docs/operations.md against the code: every setting and its default, and metrics that exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from contract.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
_BY_SYSTEM = {"state", "cache", "scratch"}
"""Settings whose default is a folder of the system's, said in words."""


def rows() -> dict[str, str]:
    """Setting -> default, as the table of the chapter on settings has them."""
    chapter = TEXT.split("\n## Settings\n")[1].split("\n## ")[0]
    return {
        name: default.strip().strip("`") for name, default in re.findall(r"^\| `(\w+)` \| ([^|]*)\|", chapter, re.M)
    }


def test_every_setting_is_explained_with_its_default() -> None:
    """The table has the fields of Settings, in their order, and says what they are when nobody sets them."""
    found = rows()
    assert list(found) == [field.name for field in fields(Settings)]
    for field in fields(Settings):
        if field.name not in _BY_SYSTEM:
            assert found[field.name] == str(field.default), field.name


def test_every_link_leads_somewhere() -> None:
    """Files that the page points to are there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
