"""Names and messages of the Celery side: a doorbell that says which chunk is waiting, nothing more."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contract.errors import UsageError
from contract.job import JobId

QUEUE = "respool"
ENHANCE = "respool.enhance"


class Ring(Struct, frozen=True, forbid_unknown_fields=True):
    """The one message: chunk `chunk` of job `job` may be worked on. Anything else is looked up in S3."""

    job: JobId
    chunk: Annotated[int, Meta(ge=0, lt=1 << 31)]  # beyond it Redis' scripts would count in floating point
    version: Literal[1] = 1


def to_message(ring: Ring) -> dict[str, object]:
    message: dict[str, object] = msgspec.to_builtins(ring)
    return message


def from_message(message: object) -> Ring:
    """Read a message that may have come from anybody; raise UsageError when it is not a Ring."""
    try:
        return msgspec.convert(message, Ring)
    except msgspec.ValidationError as error:
        raise UsageError(f"refused a message that is not ours: {error}.") from error
