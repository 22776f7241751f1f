"""Names of submitters: those for whom jobs count in fair shares and quotas. A name is a claim, and proves nothing."""

from __future__ import annotations

import getpass
import os
import re
from typing import Annotated

from msgspec import Meta

from contract.errors import UsageError

MOST = 64
"""Characters of a name."""
_NAME = (
    r"^(?!.*[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff])"
    rf"\S(?:.{{0,{MOST - 2}}}\S)?\Z"
)
"""Characters that `contract.printable` prints as they are, none of them a blank at either end."""

Submitter = Annotated[str, Meta(pattern=rf"{_NAME}|^\Z")]
"""A submitter's name; empty in jobs of versions that did not record one, which all count as one submitter."""


def check_submitter(name: str) -> str:
    """Return `name` when it can be a submitter's; raise UsageError otherwise."""
    if not re.search(_NAME, name):
        raise UsageError(
            f"submitter is {name[:80]!r}, which is not a name; give 1 to {MOST} printable characters without blanks around them."
        )
    return name


def user_name() -> str:
    """Return the name of the operating system's user; its number where it has no name that could be a submitter's."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user is often in no list
        name = ""
    return name if re.search(_NAME, name) else f"user-{os.getuid()}"
