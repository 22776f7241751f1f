"""Exit codes of every command."""

from __future__ import annotations

from enum import IntEnum

from contract.errors import BadInput, Cancelled, RespoolError, Unreachable, UsageError, WeightsError


class Exit(IntEnum):
    """Exit codes; scripts rely on these numbers."""

    DONE = 0
    FAILED = 1  # finished with failed items, or could not finish
    USAGE = 2  # the command line, a source, the weights or the output is not usable
    UNREACHABLE = 3  # Redis or S3 does not answer or refuses the credentials
    CANCELLED = 4  # the user asked for the job or the command to stop


def exit_of(error: RespoolError) -> Exit:
    """Return the exit code for `error`."""
    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    if isinstance(error, Cancelled):
        return Exit.CANCELLED
    if isinstance(error, UsageError | BadInput | WeightsError):
        return Exit.USAGE
    return Exit.FAILED
