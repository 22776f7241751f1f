"""Places of results: one file, or a folder that mirrors the source tree; checked before any work."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import UsageError
from orchestrator.cli.options import media_suffix, one_file, written_suffix
from orchestrator.mask_names import mask_name
from stores.atomic_files import write_atomically

if TYPE_CHECKING:
    from contract.job import Item, ItemFailure, Manifest, ResultFile
    from orchestrator.jobs.job_record import Trail

SIDECARS = re.compile(r"\.(scc|timecode\.json|stream\d+\.\w+)$")
"""Endings of files that belong beside the result of a film, and have its name without its suffix."""
_KIND = re.compile(r"\.(?=[a-z0-9]*[a-z])[a-z0-9]{2,4}")
"""Suffixes that look like a file's; ``.2024`` may well end the name of a folder."""
FAILURES = "failures.csv"
_HEAD = ("file", "reason")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Output:
    """OUT as the user gave it. `single`: it names the one result; `force`: existing files may be replaced."""

    path: Path
    single: bool
    force: bool
    notes: list[str] = field(default_factory=list)
    _placed: set[int] = field(default_factory=set)
    """Items whose result has its place: their other files lie beside it."""

    @classmethod
    def of(cls, path: Path | None, sources: Sequence[Path], force: bool, folders: bool = False) -> Output:
        """Interpret `-o path` for `sources`; with `folders`, a source that is a folder gives one result.

        Without a path, the result of one source lies beside it, as ``film-restored.mp4`` or ``scans-restored``. Raises UsageError where
        the path names one file of a kind that is not written, or one for many results.
        """
        if path is None:
            path = _beside(sources, folders)
        single = one_file(path, tuple(sources), folders)
        if not single and not path.exists() and (kind := _KIND.fullmatch(path.suffix.lower())):
            if media_suffix(path):
                raise UsageError(f"{path} names one file, but these sources make several; name a folder.")
            if len(sources) == 1 and not sources[0].is_dir():
                raise UsageError(
                    f"{path}: {kind.group()} is no format that Respool writes; give -o a name that ends in .mkv or .mp4 for a "
                    "film, .png or .tif for an image, or make the folder of that name first."
                )
        return cls(path, single, force)

    def check(self, sources: Sequence[Path]) -> None:
        """Raise UsageError when OUT cannot be written, or when results would lie among the sources or replace them."""
        place = self.path.absolute()
        if self.single and place.is_dir():
            raise UsageError(f"{self.path} is a folder; give -o the name of a file in it.")
        if not self.single and place.exists() and not place.is_dir():
            raise UsageError(f"{self.path} is a file, but these sources make several; name a folder.")
        for source in sources:
            if source.is_dir() and place.resolve().is_relative_to(source.resolve()):
                raise UsageError(
                    f"{self.path} lies in the source folder {source}, and would be a source of the next run; name another."
                )
            if self.single and place.exists() and place.samefile(source):
                raise UsageError(f"{self.path} is the source itself; name another output.")
        folder = place.parent if self.single else place
        while not folder.exists():
            folder = folder.parent
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"respool")
                probe.flush()
        except OSError as error:
            raise UsageError(f"nothing can be written in {folder} ({error.strerror}); choose another -o.") from error

    def approve(
        self, items: Sequence[Item], manifest: Manifest | None, sources: Sequence[Path], masks: bool = False
    ) -> None:
        """Raise UsageError when a result, or with `masks` a mask film, would replace an existing file that is not this job's own."""
        from stores.file_digest import file_sha256

        originals = {source.resolve() for source in sources}
        finished = {f.name: f.sha256 for f in (*manifest.files, *manifest.sidecars)} if manifest else {}
        places = [(item.result, self.expected(item.result)) for item in items]
        places += [(mask_name(i.result), self.masks(i.result)) for i in items if masks and i.kind == "video"]
        for name, path in places:
            if path.resolve() in originals:
                raise UsageError(f"the result {path} would replace its own source; choose another -o.")
            if path.exists() and not self.force and finished.get(name) != file_sha256(path):
                raise UsageError(
                    f"{path} exists already and is not a result of this job; name another -o, or add --force."
                )

    def place(self, file: ResultFile) -> Path:
        """Return the path of a finished file; an item's result comes before the files beside it.

        A single OUT with a wrong suffix for its format gets the right one.
        """
        if self.single and file.item in self._placed:
            beside = SIDECARS.search(file.name)
            return self.path.with_name(self.path.stem + beside.group()) if beside else self.masks(file.name)
        self._placed.add(file.item)
        path = self.expected(file.name)
        if path.name != self.path.name and self.single:
            self.notes.append(f"the result is written as {path}, because it is not what {self.path.suffix} promises.")
        return path

    def masks(self, result: str) -> Path:
        """Return the path of the mask film of the result called `result`, which a single OUT gives its own name."""
        return Path(mask_name(str(self.path))) if self.single else self.expected(mask_name(result))

    def expected(self, name: str) -> Path:
        """Return the path for a result called `name`."""
        if not self.single:
            return self.path.joinpath(*name.split("/"))
        suffix = Path(name).suffix.lower()
        same = ({".mp4", ".m4v"}, {".mov", ".qt"}, {".ts", ".m2ts", ".mts"}, {".jpg", ".jpeg"}, {".tif", ".tiff"})
        asked = self.path.suffix.lower()
        if asked == suffix or any({asked, suffix} <= names for names in same):
            return self.path
        return self.path.with_suffix(suffix)


def _beside(sources: Sequence[Path], folders: bool) -> Path:
    """Return the output beside the only source: a folder for a folder, else a file of a format that is written."""
    if len(sources) != 1:
        raise UsageError(f"{len(sources)} sources make several results; name a folder with -o.")
    source = sources[0].absolute()
    if source.is_dir():
        return source.with_name(f"{source.name}-restored{'.mkv' if folders else ''}")
    return source.with_name(f"{source.stem}-restored{written_suffix(source)}")


def _cell(text: str) -> str:
    """Return a cell that a spreadsheet does not take for a formula (OWASP, CSV injection): an apostrophe goes first."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_failures(folder: Path, failures: Sequence[ItemFailure]) -> Path | None:
    """Write `folder`/failures.csv (UTF-8, RFC 4180) and return it; without failures, remove the one of an earlier run.

    A file of that name that Respool did not write is left unmodified.
    """
    path = folder / FAILURES
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_HEAD)
    rows.writerows((_cell(f.name), _cell(f.reason)) for f in sorted(failures, key=lambda f: f.item))
    if path.exists() and not path.read_bytes().startswith(",".join(_HEAD).encode()):
        return None
    if not failures:
        path.unlink(missing_ok=True)
        return None
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode())
    return path


def write_beside(
    output: Output, paths: Sequence[Path], failures: Sequence[ItemFailure], trail: Trail | None, job: str
) -> list[Path]:
    """Write files beside the results `paths` of a job: failures.csv in a folder, and change maps where `trail` is given."""
    made = []
    if not output.single and (listed := write_failures(output.path, failures)):
        made.append(listed)
    if trail is not None:
        for record, path in zip(trail.records(job), paths, strict=False):  # behind the results come files beside them
            made += trail.change_map(record, path)
    return made
