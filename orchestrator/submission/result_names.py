"""Names of a submission's results: all different, and none longer than file systems allow. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from contract.job import Item
from stores.atomic_files import LONGEST, ended

SIDECAR = ".xmp"


def apart(drafts: Sequence[Item], notes: list[str]) -> list[Item]:
    """Results that would have one name (a.jpg and a.webp both to a.png) keep their source's suffix too; what is too long is cut.

    Every name that changes is noted.
    """
    wanted = Counter(draft.result for draft in drafts)
    taken = {draft.result for draft in drafts if wanted[draft.result] == 1 or draft.result == draft.name}
    found = []
    numbers: dict[tuple[str, str], int] = {}
    for draft in drafts:
        alone = wanted[draft.result] == 1 or draft.result == draft.name
        if alone and _fits(draft.result):
            found.append(draft)
            continue
        name = next(name for name in _candidates(draft, alone, numbers) if name not in taken and _fits(name))
        taken.add(name)
        why = "its name would be too long" if alone else f"another source's result is {draft.result}"
        notes.append(f"the result of {draft.name} is called {name}: {why}")
        found.append(msgspec.structs.replace(draft, result=name))
    return found


def _candidates(draft: Item, alone: bool, numbers: dict[tuple[str, str], int]) -> Iterator[str]:
    """Yield names for a result, the best first; `numbers` remembers which were tried for names that are cut alike.

    Without it each of a thousand files whose long names begin alike would try all numbers of those before it.
    """
    suffix = PurePosixPath(draft.result).suffix
    yield draft.result if alone else draft.name + suffix
    stem = PurePosixPath(draft.name)
    alike = str(stem.with_name(ended(stem.name, " " * _NUMBER + suffix))), suffix
    for number in itertools.count(numbers.get(alike, 1)):
        numbers[alike] = number + 1
        end = suffix if number == 1 else f" ({number}){suffix}"
        yield str(stem.with_name(ended(stem.name, end)))


_NUMBER = len(" (1000000000)")


def _fits(name: str) -> bool:
    return len(PurePosixPath(name).name.encode()) <= LONGEST


def sidecar_name(source: str, result: Path, place: str) -> Path:
    """Return the path of a sidecar beside a result; it is named as it was beside its source."""
    whole = place.lower() == (PurePosixPath(source).name + SIDECAR).lower()
    return result.with_name(result.name + SIDECAR) if whole else result.with_suffix(SIDECAR)
