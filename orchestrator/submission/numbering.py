"""The order of a numbered sequence of images: their names alone decide it, and a missing number is refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from contract.errors import BadInput, UsageError
from orchestrator.submission.links import leads_out
from orchestrator.submission.neighbours import described

_NAME = re.compile(r"(.*?)([0-9]{1,18})(\.[^.]*)?", re.DOTALL)


def numbered(folder: Path, notes: list[str]) -> list[Path]:
    """List the images of a sequence in the order of the last number in their names; `notes` get what was left out.

    Raises:
        BadInput: a number is missing or comes twice, a name has none, or the folder holds two sequences or a folder.
        UsageError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; --sequence takes folders, each with the images of one film.")
    found: list[tuple[int, Path, tuple[str, str]]] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise BadInput(f"{folder} cannot be read ({error.strerror}); check its permissions.") from error
    for path in entries:
        if path.name.startswith(".") or described(path.name) is not None:
            notes.append(f"{path} is no image of the sequence and was left out")
            continue
        if path.is_dir():
            raise BadInput(f"{path} is a folder within a sequence; name the folders that hold the images themselves.")
        if leads_out(path, folder):
            raise BadInput(
                f"{path} is a link that leads out of {folder}; put the image itself into the sequence's folder."
            )
        if not path.is_file():
            raise BadInput(f"{path} is not a regular file; take it out of the sequence's folder.")
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise BadInput(
                f"{path} has no number at the end of its name that tells its place; take it out of the folder."
            )
        found.append((int(match[2]), path, (match[1], (match[3] or "").lower())))
    if not found:
        raise BadInput(f"{folder} holds no numbered images; name a folder with files such as scan_0001.dpx.")
    found.sort(key=lambda entry: entry[0])
    for (_, before, kind), (_, path, other) in itertools.pairwise(found):
        if kind != other:
            raise BadInput(f"{before} and {path} are not of one sequence; put each sequence in a folder of its own.")
    for (last, before, _), (number, path, _) in itertools.pairwise(found):
        if number == last:
            raise BadInput(
                f"{before.name} and {path.name} in {folder} have the same number {number}; remove one of them."
            )
        if number != last + 1:
            missing = f"number {last + 1}" if number == last + 2 else f"numbers {last + 1} to {number - 1}"
            raise BadInput(
                f"{folder} lacks {missing} between {before.name} and {path.name}; add what is missing, or renumber the "
                "files if nothing belongs there."
            )
    return [path for _, path, _ in found]
