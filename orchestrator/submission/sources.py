"""Source files of a submission and their names in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from contract import keys
from contract.errors import BadInput, UsageError
from contract.film import ImageSequence
from orchestrator.submission.links import leads_out
from orchestrator.submission.neighbours import Checksums, algorithm, beside, described, sidecar, stray
from orchestrator.submission.result_names import SIDECAR


@dataclass(frozen=True)
class SourceFile:
    """One file on disk. `name` is its relative path in the submission; `explicit` when the user named the file itself.

    `sequence` lists the numbered images that the file was packed from, if the user named their folder as a film.
    """

    path: Path
    name: str
    explicit: bool
    sequence: ImageSequence | None = None
    sidecar: Path | None = None


class Found(NamedTuple):
    """Files of a submission in name order, and notes on what was left out."""

    files: list[SourceFile]
    notes: list[str]
    checksums: Checksums = Checksums(())


def find(sources: Sequence[Path]) -> Found:
    """Find every file that `sources` (files and folders, these recursively) name, with notes on what was left out.

    Raises BadInput for a source that is missing or not a regular file or folder, UsageError for none or equal names.
    """
    if not sources:
        raise UsageError("no source was given; name at least one film, photograph or folder.")
    notes: list[str] = []
    files: list[SourceFile] = []
    lists: list[Path] = []
    sidecars: list[Path] = []
    for source in sources:
        try:
            mode = source.stat().st_mode
        except OSError as error:
            raise BadInput(f"{source} cannot be read ({error.strerror}); check the path.") from error
        if stat.S_ISREG(mode):
            files.append(SourceFile(source, usable(source.name, notes), True, sidecar=sidecar(source)))
            lists += beside(source)
        elif stat.S_ISDIR(mode):
            prefix = "" if len(sources) == 1 else f"{source.resolve().name}/"
            walked = list(_walk(source, notes, lists, sidecars))
            files += [
                SourceFile(path, usable(prefix + name, notes), False, sidecar=sidecar(path) if sidecars else None)
                for path, name in walked
            ]
        else:
            raise BadInput(f"{source} is neither a file nor a folder; name a film, photograph or folder.")
    if not files:
        raise BadInput(f"{sources[0]} holds no films or photographs; name a folder that does.")
    checksums = Checksums(lists)
    notes += checksums.notes
    notes += stray(sidecars, {file.sidecar: file for file in files if file.sidecar})
    return Found(apart(files, notes), notes, checksums)


def apart(files: Sequence[SourceFile], notes: list[str] | None = None) -> list[SourceFile]:
    """Return `files` in name order; raise UsageError when two of them would have one name.

    With `notes`, a name that only came to be by cleaning it (`usable`) gets a number instead, which is noted.
    """
    seen: dict[str, Path] = {}
    given = {file.name for file in files if _own(file)}
    numbers: dict[str, int] = {}
    for n, file in enumerate(files := list(files)):
        name = file.name
        if notes is not None and not _own(file):
            path = PurePosixPath(name)
            while name in seen or name in given:
                numbers[file.name] = number = numbers.get(file.name, 1) + 1
                name = str(path.with_name(f"{path.stem} ({number}){path.suffix}"))
            if name != file.name:
                notes.append(f"{name!r} is the result's name of another file that would be called {file.name!r} too")
                files[n] = replace(file, name=keys.check_name(name))
        if name in seen:
            raise UsageError(f"{seen[name]} and {file.path} would both be {name!r}; submit them separately.")
        seen[name] = file.path
    return sorted(files, key=lambda f: f.name)


def _own(file: SourceFile) -> bool:
    """Return True when the last part of a file's name is its name on disk."""
    return PurePosixPath(file.name).name == file.path.name


def _walk(folder: Path, notes: list[str], lists: list[Path], sidecars: list[Path]) -> Iterator[tuple[Path, str]]:
    """(path, relative name) of the regular files below a folder; links are followed to files within it alone.

    What cannot be looked at, a file or a folder, is among them: it fails by itself when it is read.
    """
    shut: list[Path] = []

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise BadInput(f"{folder} cannot be read ({error.strerror}); check its permissions.") from error
        shut.append(Path(error.filename))

    for base, folders, names in os.walk(folder, onerror=refuse):
        notes += [
            f"{Path(base, d)} is a link to a folder and was not followed" for d in folders if Path(base, d).is_symlink()
        ]
        folders.sort()
        for name in sorted(names):
            path = Path(base, name)
            if name.startswith("."):
                notes.append(f"{path} is hidden and was left out")
            elif leads_out(path, folder):
                notes.append(f"{path} is a link that leads out of {folder} and was left out")
            elif (what := described(name)) is not None:
                if algorithm(name) is not None:
                    lists.append(path)
                elif path.suffix.lower() == SIDECAR:
                    sidecars.append(path)
                else:
                    notes.append(f"{path} is {what} and was left out")
            elif (why := _left_out(path)) is not None:
                notes.append(f"{path} is {why} and was left out")
            else:
                yield path, path.relative_to(folder).as_posix()
    yield from ((path, path.relative_to(folder).as_posix()) for path in shut)


def _left_out(path: Path) -> str | None:
    """Name the kind of a file that cannot be a source; None for a regular file and for one that cannot be examined."""
    try:
        if not path.exists():
            return "a link that leads nowhere"
        return None if path.is_file() else "not a regular file"
    except PermissionError:
        return None


def usable(name: str, notes: list[str]) -> str:
    """Return a file's `name` as valid UTF-8 without control characters or backslashes; note a change."""
    clean = os.fsencode(name).decode("utf-8", "replace")
    clean = "".join("_" if ord(c) < 32 or c == "\\" else c for c in clean)
    if clean != name:
        notes.append(
            f"{clean!r} is called so in the results: the file's own name is not valid UTF-8 or has control characters"
        )
    return keys.check_name(clean)
