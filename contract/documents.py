"""Reading and writing the JSON documents of a job, with their versions.

A change that an older process must not overlook, such as a new field, raises VERSION; KNOWN lists the versions that
are still read. A process that meets a newer version raises `Newer` and leaves the document unmodified for a process
that knows it. Only what decides nothing (`record`, heartbeats, `JobStatus`) may grow within a version.
"""

from __future__ import annotations

import threading
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from contract.errors import Newer, UsageError

VERSION: Literal[2] = 2
"""The version that is written."""

KNOWN: tuple[int, ...] = (1, 2)
"""The versions that are read: the one that is written, and those that may still be in use during an upgrade."""

Version = Literal[1, 2]
"""Versions of plans, commits and manifests. Documents without a field of version 2 stay at 1."""

T = TypeVar("T", bound=Struct)


def encode(value: Struct) -> bytes:
    """Return canonical JSON (sorted keys, UTF-8): equal values give equal bytes. Sentences of the class Loss are plain strings in it."""
    return msgspec.json.encode(value, order="deterministic", enc_hook=_text)


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no place in a document")


def decode(data: bytes, kind: type[T], what: str) -> T:
    """Read a `kind` from JSON; `what` names the document in errors.

    Raises:
        Newer: a newer version of Respool wrote it.
        UsageError: it is not a `kind`.
    """
    try:
        return _decoder(kind).decode(data)
    except msgspec.DecodeError as error:
        if _newer(data, kind, error):
            raise Newer(
                f"{what} was written by a newer version of Respool, and this one does not know all of it ({error}); "
                "it is left to newer processes: finish the upgrade."
            ) from error
        raise UsageError(f"{what} is not a {kind.__name__} of version {VERSION}: {error}.") from error


_building = threading.Lock()


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Build a decoder, one at a time: msgspec 0.22 crashes when several threads first read a class' fields at once."""
    with _building:
        return msgspec.json.Decoder(kind)


class _Versioned(Struct):
    version: int = 1


def _newer(data: bytes, kind: type[Struct], error: msgspec.DecodeError) -> bool:
    """Return True if the document that `error` refused has a later version, or fields of one."""
    known = {field.name: field.default for field in msgspec.structs.fields(kind)}.get("version", 1)
    try:
        found = _decoder(_Versioned).decode(data).version
    except msgspec.DecodeError:
        return False
    return found > known or (found == known and str(error).startswith("Object contains unknown field"))


def raw(value: object) -> msgspec.Raw:
    """Encode a value for a `record` dictionary."""
    return msgspec.Raw(msgspec.json.encode(value, order="deterministic"))
