"""Severity of what a job says: note, loss, damage, failure. Notes are sentences; a loss is one about something that a result does not carry."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

Severity = Literal["note", "loss", "damage", "failure"]
ORDER: tuple[Severity, ...] = ("note", "loss", "damage", "failure")
"""From the least to the most severe."""

_LOSS = re.compile(
    r"left out|cannot hold|can hold no|has no place|could not be (?:carried|joined|brought|kept)|was replaced|were dropped|was dropped|"
    r"bits a sample become|alpha was flattened|is not carried|are not carried|cannot carry|is lost|are lost|offsets inside it may not resolve|"
    r"were taken for sRGB|was not checked|were not checked"
)
_NO_LOSS = re.compile(
    r"thumbnail|description of the array|shows? the picture before|smaller versions|reduced pages|is hidden|not a film or photograph|operating system|"
    r"sound without a picture|a link |not a regular file|is a preview"
)
"""Copies of the picture before, and files that are no sources: nothing of the archive's own."""
_FILE = re.compile(r"\.[A-Za-z0-9]{1,5}$")


def severity(note: str) -> Severity:
    """Return `loss` for a note about something that the source has and the result has not, else `note`."""
    return "loss" if _LOSS.search(note) and not _NO_LOSS.search(note) else "note"


def losses(notes: Iterable[str]) -> tuple[str, ...]:
    """Return the notes that are losses."""
    return tuple(note for note in notes if severity(note) == "loss")


def worst(notes: Iterable[str], damaged: bool, failed: bool) -> Severity | None:
    """Return the most severe thing that was said; None when nothing was."""
    found: list[Severity] = [severity(note) for note in notes]
    found += ["damage"] if damaged else []
    found += ["failure"] if failed else []
    return max(found, key=ORDER.index, default=None)


def counts(notes: Iterable[str], damage: int, failures: int) -> dict[str, int]:
    """Return how many notes, losses, damages and failures there are."""
    found = Counter(severity(note) for note in notes)
    return {"note": found["note"], "loss": found["loss"], "damage": damage, "failure": failures}


def grouped(notes: Iterable[str]) -> list[str]:
    """Return notes that say the same of several items as one, with how many and the first three names; the order is kept.

    A note is about an item when it begins with a file name and a colon.
    """
    about: dict[str, list[str]] = {}
    for note in notes:
        name, colon, said = note.partition(": ")
        if colon and _FILE.search(name):
            about.setdefault(said, []).append(name)
        else:
            about.setdefault(note, [])
    made = []
    for said, items in about.items():
        if not items:
            made.append(said)
        elif len(items) == 1:
            made.append(f"{items[0]}: {said}")
        else:
            more = ", ..." if len(items) > 3 else ""
            made.append(f"{len(items)} items ({', '.join(items[:3])}{more}): {said}")
    return made
