"""Models that the user brings: looked at, converted, and entered in the user's own catalog."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contract.errors import WeightsError
from contract.settings import Settings
from stores.storage import file_sha256
from weights import catalog, convert
from weights.cache import Cache, Record
from weights.catalog import Entry, Source, UserCatalog
from weights.fetch import fetch
from weights.tensors import MAX_BYTES
from weights.transport import Progress

_INSPECT_S = 300
"""Longest that a look at a network may take: importing torch and spandrel takes seconds, building the network more."""

Inspect = Callable[[Path], Mapping[str, object]]


class Inspected(Struct, frozen=True):
    """What a look at a checkpoint found out. `architecture` is spandrel's name for it."""

    architecture: Annotated[str, Meta(min_length=1, max_length=100)]
    scale: Annotated[int, Meta(ge=1, le=16)]
    input_channels: Annotated[int, Meta(ge=1, le=4)]
    output_channels: Annotated[int, Meta(ge=1, le=4)]
    purpose: str = "SR"


def inspect_file(path: Path) -> Mapping[str, object]:
    """What ``python -m training.inspect_checkpoint`` says about a checkpoint, in a process of its own: torch stays out of this one.

    Raises WeightsError when the file is no network that spandrel knows, or the worker's packages are not installed.
    """
    command = [sys.executable, "-P", "-m", "training.inspect_checkpoint", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSPECT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"looking at {path.name} took more than {_INSPECT_S} s; it was left.") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        if any("No module named" in line for line in lines):
            raise WeightsError(f"{path.name} cannot be looked at ({lines[-1][:200]}); install respool[worker] here.")
        raise WeightsError(
            f"{path.name} is no model that can be used: {lines[-1][:300] if lines else 'no reason given'}"
        )
    try:
        answer = msgspec.json.decode(done.stdout.strip().rpartition("\n")[2], type=dict[str, object])
    except msgspec.DecodeError as error:
        raise WeightsError(f"the look at {path.name} gave no JSON ({error}); report this as a bug.") from error
    return answer


def add(
    file: Path,
    settings: Settings,
    inspect: Inspect = inspect_file,
    *,
    name: str | None = None,
    licence: str = "NOASSERTION",
    progress: Progress | None = None,
) -> Entry:
    """Enter a ``.pth`` or ``.safetensors`` file in the user's catalog, under its own name or `name`; returns the entry.

    A file whose SHA-256 the catalog knows already (say GFPGANv1.4.pth, brought on a disk) becomes that model's. Any
    other is read safely, converted, and only then looked at by `inspect`. `licence` is an SPDX expression;
    NOASSERTION, the default, is outside of every licence policy. On failure the catalog stays as it was.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise WeightsError(f"{file} is not a regular file of at most {MAX_BYTES} bytes; name a file of weights.")
        sha256 = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror or error}.") from error
    known = catalog.load(settings)
    for entry in known.entries:
        if any(source.sha256 == sha256 for source in entry.sources) and file.suffix.lower() != ".bin":
            fetch(entry, settings, progress, location=str(file.resolve()), sha256=sha256)
            return entry
    return _add_unknown(file, sha256, found.st_size, _free_name(name or file.stem, known), settings, inspect, licence)


def _free_name(name: str, known: catalog.Catalog) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
        raise WeightsError(
            f"{name[:120]!r} cannot name a model; give a name of letters, digits and . _ + - with `--name NAME`."
        )
    for entry in known.entries:
        if name.lower() in {n.lower() for n in (entry.name, *entry.aliases)}:
            raise WeightsError(f"the name {name!r} belongs to {entry.name}; give another one with `--name NAME`.")
    return name


def _add_unknown(
    file: Path, sha256: str, size: int, name: str, settings: Settings, inspect: Inspect, licence: str
) -> Entry:
    draft = Entry(name=name, role="generator", architecture="spandrel", licence=licence, added=True)
    cache = Cache(settings)
    try:
        with tempfile.TemporaryDirectory(dir=cache.root, prefix=".add-") as folder:
            # The look is at our conversion, so nothing but safetensors ever reaches a process with torch in it.
            target = Path(folder) / f"{name}.safetensors"
            stored = convert.convert(file, file.suffix.lower(), draft, target)
            entry = _entry(
                draft, file, inspect(target), Source(str(file.resolve()), sha256, size=size, converted=stored)
            )
            cache.adopt(target, stored, entry.suffix)
        origin = f"{entry.sources[0].at} (SHA-256 {sha256})"
        cache.remember(entry, entry.sources[0], Record(sha256, stored, entry.suffix, origin))

        def change(user: UserCatalog) -> UserCatalog:
            _free_name(name, catalog.Catalog(user.models))  # another process may have added one meanwhile
            return msgspec.structs.replace(user, models=(*user.models, entry))

        cache.update_catalog(settings, change)
    except OSError as error:
        raise WeightsError(f"{file} cannot be kept in {cache.root}: {error.strerror or error}.") from error
    return entry


def _entry(draft: Entry, file: Path, answer: Mapping[str, object], source: Source) -> Entry:
    try:
        seen = msgspec.convert(dict(answer), Inspected)
    except msgspec.ValidationError as error:
        raise WeightsError(f"{file.name} is no model that can be used: {error}.") from error
    if (seen.input_channels, seen.output_channels) not in ((3, 3), (1, 1)):
        raise WeightsError(
            f"{file.name} maps {seen.input_channels} channels to {seen.output_channels}; "
            "only generators from RGB to RGB or grey to grey can be used."
        )
    if seen.purpose == "FaceSR":
        raise WeightsError(
            f"{file.name} is a {seen.architecture}, which restores faces and is no generator; for one that the catalog "
            f"has, run `respool models fetch NAME --from {file.name} --sha256 HEX`."
        )
    return msgspec.structs.replace(
        draft,
        scale=seen.scale,
        parameters={
            "architecture": seen.architecture,
            "scale": seen.scale,
            "input_channels": seen.input_channels,
            "output_channels": seen.output_channels,
        },
        notes=f"Added from {file.name}; {seen.architecture}.",
        sources=(source,),
    )
