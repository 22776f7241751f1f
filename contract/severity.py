"""Severity of what a job says: note, loss, damage, failure. Notes are sentences; those of the class `Loss` are losses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Severity = Literal["note", "loss", "damage", "failure"]
ORDER: tuple[Severity, ...] = ("note", "loss", "damage", "failure")
"""From the least to the most severe."""

_FILE = re.compile(r"\.[A-Za-z0-9]{1,5}$")


class Loss(str):
    """Sentence about something of the archive's own that the source has and the result lacks.

    Copies of the picture before (thumbnails, reduced pages) and files that are no sources are notes, plain strings. Documents keep
    the sentences as `notes`, and those that are losses as `losses` too.
    """

    __slots__ = ()


def severity(note: str) -> Severity:
    """Return the severity of a note."""
    return "loss" if isinstance(note, Loss) else "note"


def losses(notes: Iterable[str]) -> tuple[str, ...]:
    """Return the notes that are losses, as a document keeps them."""
    return tuple(str(note) for note in notes if isinstance(note, Loss))


def plain(notes: Iterable[str]) -> tuple[str, ...]:
    """Return all notes as a document keeps them."""
    return tuple(str(note) for note in notes)


def marked(notes: Iterable[str], lost: Iterable[str]) -> list[str]:
    """Return a document's notes with the class that its `losses` say."""
    known = frozenset(lost)
    return [Loss(note) if note in known else note for note in notes]


def about(whose: str, notes: Iterable[str]) -> list[str]:
    """Return notes that begin with `whose`, a name and a colon; losses stay losses."""
    return [type(note)(whose + note) for note in notes]


def worst(notes: Iterable[str], damaged: bool, failed: bool) -> Severity | None:
    """Return the most severe thing that was said; None when nothing was."""
    found: list[Severity] = [severity(note) for note in notes]
    found += ["damage"] if damaged else []
    found += ["failure"] if failed else []
    return max(found, key=ORDER.index, default=None)


def counts(notes: Iterable[str], damage: int, failures: int) -> dict[str, int]:
    """Return how many notes, losses, damages and failures there are."""
    said = [severity(note) for note in notes]
    return {"note": said.count("note"), "loss": said.count("loss"), "damage": damage, "failure": failures}


def refusal(name: str, notes: Iterable[str]) -> str:
    """Return why --strict refuses the item `name`; empty when it loses nothing."""
    lost = losses(notes)
    return f"--strict: {name} would lose something: {'; '.join(lost)}; leave --strict out to accept it." if lost else ""


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
