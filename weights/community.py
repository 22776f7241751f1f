"""Models that the user adds: inspected, converted, and entered in the user's own catalog."""

from __future__ import annotations

import re
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contract.errors import WeightsError
from contract.programs import Program, command_line
from contract.settings import Settings
from stores.file_digest import file_sha256
from weights import catalog, convert
from weights.cache import Cache, Record
from weights.catalog import Entry, Source, UserCatalog
from weights.fetch import fetch
from weights.tensors import MAX_BYTES
from weights.transport import Progress

_INSPECT_S = 300
"""Longest time for the inspection of a network: importing torch and spandrel takes seconds, building the network more."""

Inspect = Callable[[Path], Mapping[str, object]]


class Inspected(Struct, frozen=True):
    """The result of inspecting a checkpoint. `architecture` is spandrel's name for it."""

    architecture: Annotated[str, Meta(min_length=1, max_length=100)]
    scale: Annotated[int, Meta(ge=1, le=16)]
    input_channels: Annotated[int, Meta(ge=1, le=4)]
    output_channels: Annotated[int, Meta(ge=1, le=4)]
    purpose: str = "SR"


def inspect_file(path: Path) -> Mapping[str, object]:
    """Run ``python -m training.inspect_checkpoint`` on `path` in a process of its own, as torch must not be loaded into this one.

    Raises WeightsError when spandrel does not recognise the network, or the worker's packages are not installed.
    """
    try:
        done = subprocess.run(
            command_line(Program.INSPECT_CHECKPOINT, path),
            capture_output=True,
            text=True,
            timeout=_INSPECT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"inspecting {path.name} took more than {_INSPECT_S} s; try again when the machine is less busy."
        ) from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        if any("No module named" in line for line in lines):
            raise WeightsError(f"{path.name} cannot be inspected ({lines[-1][:200]}); install respool[worker] here.")
        raise WeightsError(
            f"{path.name} is not a usable model: {lines[-1][:300] if lines else 'the inspection gave no reason'}"
        )
    try:
        answer = msgspec.json.decode(done.stdout.strip().rpartition("\n")[2], type=dict[str, object])
    except msgspec.DecodeError as error:
        raise WeightsError(f"the inspection of {path.name} printed no JSON ({error}); report this as a bug.") from error
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
    """Enter a ``.pth`` or ``.safetensors`` file in the user's catalog, under its own name or `name`; return the entry.

    A file whose SHA-256 is in the catalog already (for example GFPGANv1.4.pth, copied from a disk) is stored for that model. Any
    other file is read safely, converted, and only then inspected by `inspect`. `licence` is an SPDX expression;
    NOASSERTION, the default, is outside every licence policy. On failure the catalog stays unchanged.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise WeightsError(f"{file} is not a regular file of at most {MAX_BYTES} bytes; name a file of weights.")
        sha256 = file_sha256(file)
    except OSError as error:
        raise WeightsError(
            f"{file} cannot be read: {error.strerror or error}; check its path and permissions."
        ) from error
    known = catalog.load(settings)
    for entry in known.entries:
        if any(source.sha256 == sha256 for source in entry.sources) and file.suffix.lower() != ".bin":
            fetch(entry, settings, progress, location=str(file.resolve()), sha256=sha256)
            return entry
    return _add_unknown(file, sha256, found.st_size, free_name(name or file.stem, known), settings, inspect, licence)


def free_name(name: str, known: catalog.Catalog) -> str:
    """Return `name` when it can name a new model; raise WeightsError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
        raise WeightsError(
            f"{name[:120]!r} cannot name a model; give one of letters, digits and . _ + - with `--name NAME`."
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
            # The converted file is inspected, so that only safetensors ever reach a process with torch in it.
            target = Path(folder) / f"{name}.safetensors"
            stored = convert.convert(file, file.suffix.lower(), draft, target)
            entry = _entry(
                draft, file, inspect(target), Source(str(file.resolve()), sha256, size=size, converted=stored)
            )
            cache.adopt(target, stored, entry.suffix)
        origin = f"{entry.sources[0].at} (SHA-256 {sha256})"
        cache.remember(entry, entry.sources[0], Record(sha256, stored, entry.suffix, origin))

        def change(user: UserCatalog) -> UserCatalog:
            free_name(name, catalog.Catalog(user.models))  # another process may have added one meanwhile
            return msgspec.structs.replace(user, models=(*user.models, entry))

        cache.update_catalog(settings, change)
    except OSError as error:
        raise WeightsError(
            f"{file} cannot be stored in {cache.root}: {error.strerror or error}; free space there or set RESPOOL_CACHE."
        ) from error
    return entry


def _entry(draft: Entry, file: Path, answer: Mapping[str, object], source: Source) -> Entry:
    try:
        seen = msgspec.convert(dict(answer), Inspected)
    except msgspec.ValidationError as error:
        raise WeightsError(f"{file.name} is not a usable model: {error}; choose another file.") from error
    if (seen.input_channels, seen.output_channels) not in ((3, 3), (1, 1)):
        raise WeightsError(
            f"{file.name} maps {seen.input_channels} channels to {seen.output_channels}; "
            "choose a generator that maps RGB to RGB or grey to grey."
        )
    if seen.purpose == "FaceSR":
        raise WeightsError(
            f"{file.name} is a {seen.architecture}, which restores faces and is not a generator; for a face model of the "
            f"catalog, run `respool models fetch NAME --from {file.name} --sha256 HEX`."
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
