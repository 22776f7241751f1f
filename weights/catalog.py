"""The list of known models: Respool's own (catalog.toml) and those that the user has added, found by name or alias."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contract.errors import WeightsError
from contract.job import Natural, Sha256, Spec
from contract.settings import Settings
from weights.architectures import Architecture

Role = Literal["generator", "face", "detector", "parser", "features"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$")]

_MAX_USER_CATALOG = 4 << 20


class Source(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One place that has a model's file.

    `at` is a path, ``s3://bucket/key``, ``https://...`` or ``pypi:package==version/path/in/wheel``. `sha256` is that of
    the file there, None if it has not been published; `graph` is that of the ``.param`` beside an ncnn ``.bin``; `size` is in
    bytes, 0 if unknown; `converted` is the SHA-256 of the converted file, where that is known.
    """

    at: Annotated[str, Meta(min_length=1, max_length=4096)]
    sha256: Sha256 | None = None
    graph: Sha256 | None = None
    size: Natural = 0
    converted: Sha256 | None = None


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model. `parameters` are the constructor arguments of the network's class; `scale` is 1 for models that keep the size.

    `licence` is an SPDX expression. `twin` names the model that `--denoise` blends this one with. `added` is True for
    models that the user added.
    """

    name: Name
    role: Role
    architecture: Architecture
    licence: str
    aliases: tuple[Name, ...] = ()
    scale: Annotated[int, Meta(ge=1, le=16)] = 1
    parameters: dict[str, int | float | str | bool] = {}
    notes: str = ""
    twin: Name | None = None
    sources: tuple[Source, ...] = ()
    added: bool = False

    @property
    def file(self) -> str:
        """The name under which the model was released, for messages: that of its first source."""
        return self.sources[0].at.rstrip("/").rsplit("/", 1)[-1] if self.sources else self.name

    @property
    def suffix(self) -> Literal["safetensors", "onnx"]:
        """The stored file's format: ONNX files are stored unchanged, all others as safetensors."""
        return "onnx" if self.architecture == "centerface" else "safetensors"


class UserCatalog(Struct, frozen=True, forbid_unknown_fields=True):
    """Models that the user added, and hashes by model name for files whose hash has not been published."""

    models: tuple[Entry, ...] = ()
    hashes: dict[str, Sha256] = {}
    version: Literal[1] = 1


class _File(Struct, forbid_unknown_fields=True):
    models: tuple[Entry, ...]


class Catalog:
    """Entries in order, Respool's own first; names and aliases are unique."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._names: dict[str, Entry] = {}
        for entry in self.entries:
            for name in (entry.name, *entry.aliases):
                if self._names.setdefault(name.lower(), entry) is not entry:
                    raise WeightsError(f"model name {name!r} is in the catalog twice; remove one entry with its file.")

    def find(self, name: str, roles: Iterable[Role] = ()) -> Entry:
        """Return the entry called `name`, in any case, by name or alias, with or without a suffix such as ``.pth``.

        Raises WeightsError, with similar names, if there is none or if its role is not in `roles`; no `roles` allow all.
        """
        wanted = name.lower()
        entry = self._names.get(wanted) or self._names.get(re.sub(r"\.(pth|safetensors|onnx)$", "", wanted))
        allowed = set(roles)
        if entry is not None and (not allowed or entry.role in allowed):
            return entry
        known = {n: e.name for n, e in self._names.items() if not allowed or e.role in allowed}
        if entry is not None:
            raise WeightsError(
                f"{entry.name} is a {entry.role}, but a {' or '.join(sorted(allowed))} is needed; "
                f"choose one of {', '.join(dict.fromkeys(known.values()))}."
            )
        near = dict.fromkeys(known[n] for n in difflib.get_close_matches(wanted, known, n=5, cutoff=0.5))
        near |= dict.fromkeys(full for n, full in known.items() if len(wanted) >= 3 and wanted in n)
        advice = f"did you mean {', '.join(near)}?" if near else "`respool models list` shows all models."
        raise WeightsError(f"there is no model {name[:80]!r}; {advice}")


@functools.cache
def _builtin() -> tuple[Entry, ...]:
    text = importlib.resources.files("weights").joinpath("catalog.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _File).models


def user_catalog_path(settings: Settings) -> Path:
    """Return the path of the user's catalog."""
    return settings.cache / "weights" / "catalog.json"


def read_user_catalog(settings: Settings) -> UserCatalog:
    """Read the user's catalog; return an empty one if there is no file. Raises WeightsError, naming the file, if it is invalid."""
    path = user_catalog_path(settings)
    try:
        if path.stat().st_size > _MAX_USER_CATALOG:
            raise WeightsError(
                f"{path} has {path.stat().st_size} bytes, too many for a catalog of models; move it away."
            )
        return msgspec.json.decode(path.read_bytes(), type=UserCatalog)
    except FileNotFoundError:
        return UserCatalog()
    except (OSError, msgspec.DecodeError) as error:
        raise WeightsError(f"{path} cannot be read as a catalog of models: {error}; move it away.") from error


def load(settings: Settings) -> Catalog:
    """Load Respool's own catalog and the user's, with the user's hashes filled in."""
    user = read_user_catalog(settings)
    entries = []
    for entry in (*_builtin(), *user.models):
        given = user.hashes.get(entry.name)
        if given:
            sources = tuple(s if s.sha256 else msgspec.structs.replace(s, sha256=given) for s in entry.sources)
            entry = msgspec.structs.replace(entry, sources=sources)
        entries.append(entry)
    return Catalog(entries)


def network_scale(model: str, settings: Settings) -> int:
    """Return the factor by which the generator `model` enlarges; raise WeightsError if there is no such generator."""
    return load(settings).find(model, ("generator",)).scale


def job_scale(spec: Spec, settings: Settings) -> int:
    """Return the factor by which the generator of `spec` enlarges, by the weights that the spec pins, else by the catalog.

    A job's own pin counts: the catalog of another machine may know the model under another scale, or not at all.
    """
    for weights in spec.weights:
        if weights.role == "generator":
            for key in ("scale", "upscale"):
                value = weights.parameters.get(key)
                if isinstance(value, int) and value > 0:
                    return value
    return network_scale(spec.model, settings)
