"""The licence policy: the licences that the user allows, as SPDX ids."""

from __future__ import annotations

import re

from contract.errors import WeightsError
from contract.settings import Settings
from weights.catalog import Entry


def check(entry: Entry, settings: Settings) -> None:
    """Raise WeightsError when `settings.licence_policy` does not allow the licence of `entry`. An empty policy allows all.

    A licence ``A AND B`` needs both in the policy, ``A OR B`` one of them; ids compare without case, as SPDX specifies.
    Models without weights have no licence but Respool's own.
    """
    allowed = {word.strip().lower() for word in settings.licence_policy.split(",") if word.strip()}
    if not allowed or entry.architecture == "none":
        return
    refused = min((_outside(option, allowed) for option in re.split(r"\s+OR\s+", entry.licence)), key=len)
    if refused:
        part = "" if refused == [entry.licence] else f" (of its licence {entry.licence})"
        raise WeightsError(
            f"{entry.name} is under {' and '.join(refused)}{part}, which the licence policy "
            f"{settings.licence_policy!r} does not allow; choose another model or change licence_policy."
        )


def _outside(expression: str, allowed: set[str]) -> list[str]:
    parts = (part.strip(" ()") for part in re.split(r"\s+AND\s+", expression))
    return [part for part in parts if part.lower() not in allowed]
