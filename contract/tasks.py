"""Names and messages of the Celery side: a doorbell that says which chunk is waiting, nothing more.

Each version of the plan has a queue of its own, and a worker listens to those that it can read. So old and new
workers stand side by side, and nobody is handed what only the other one knows.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contract.errors import Newer, UsageError
from contract.job import KNOWN, JobId

QUEUE = "respool"
ENHANCE = "respool.enhance"


class Ring(Struct, frozen=True, forbid_unknown_fields=True):
    """The one message: chunk `chunk` of job `job` may be worked on. Anything else is looked up in S3.

    `version` is the plan's, so that whoever takes the message can read the plan.
    """

    job: JobId
    chunk: Annotated[int, Meta(ge=0, lt=1 << 31)]  # beyond it Redis' scripts would count in floating point
    version: Literal[1] = 1


class _Versioned(Struct):
    version: int


def queue(version: int) -> str:
    """Name of the queue for chunks whose plan is of `version`."""
    return QUEUE if version == 1 else f"{QUEUE}.{version}"


def to_message(ring: Ring) -> dict[str, object]:
    message: dict[str, object] = msgspec.to_builtins(ring)
    return message


def from_message(message: object) -> Ring:
    """Read a message that may have come from anybody; raise Newer for one of a later version, UsageError for no Ring."""
    try:
        return msgspec.convert(message, Ring)
    except msgspec.ValidationError as error:
        try:
            found = msgspec.convert(message, _Versioned).version
        except msgspec.ValidationError:
            found = 0
        if found > max(KNOWN):
            raise Newer(
                f"refused a message of version {found}: this worker knows none above {max(KNOWN)}; "
                "its chunk is announced again for workers that do."
            ) from error
        raise UsageError(f"refused a message that is not ours: {error}.") from error
