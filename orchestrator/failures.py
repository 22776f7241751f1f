"""failures.csv: what failed of a batch, for the archivist's spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from contract.job import ItemFailure
from stores.atomic_files import write_atomically

NAME = "failures.csv"
_HEAD = ("file", "reason")


def write_failures(folder: Path, failures: Sequence[ItemFailure]) -> Path | None:
    """Write `folder`/failures.csv (UTF-8, RFC 4180) and return it; with nothing failed, remove the one of an earlier run.

    A file of that name that Respool did not write is left alone.
    """
    path = folder / NAME
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_HEAD)
    rows.writerows((f.name, f.reason) for f in sorted(failures, key=lambda f: f.item))
    if path.exists() and not path.read_bytes().startswith(",".join(_HEAD).encode()):
        return None
    if not failures:
        path.unlink(missing_ok=True)
        return None
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode())
    return path
