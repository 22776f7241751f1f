"""Every error that Respool raises on purpose.

RespoolError                      the root; str() is one sentence: what, which value, what to do next
├── PermanentError                trying again gives the same answer
│   ├── UsageError                the command or an option is wrong
│   ├── BadInput                  a source cannot be read, or is not what it says it is
│   │   ├── Unsupported           readable, but not restorable without losing something
│   │   └── SourceChanged         the source is not the one that was submitted
│   ├── WeightsError              weights are missing, unknown, unsafe or not the pinned bytes
│   ├── IntegrityError            stored bytes differ from their recorded hash
│   │   └── Missing               an object that must be in the store is not
│   ├── EnhanceError              a chunk cannot be enhanced (NaN, black, out of memory at the smallest tile)
│   ├── VerifyError               the assembled result is not what the plan promised
│   └── Cancelled                 the user asked for the job to stop
└── TransientError                worth another try, later or elsewhere
    ├── Unreachable               Redis or S3 does not answer, or refuses the credentials
    ├── StorageError              one object could not be read or written
    ├── Newer                     a message or document that a newer version of Respool wrote
    ├── CannotServe               this worker cannot compute a job as it was begun; another may
    ├── Unsettled                 a job's ledger counts chunks whose end S3 does not have
    ├── LeaseLost                 another attempt owns the chunk now
    └── Interrupted               the process was told to stop and hands its chunk back

Constructor arguments go to ``super().__init__`` unchanged, so that errors survive pickling.
"""

from __future__ import annotations


class RespoolError(Exception):
    """Raised for any failure that Respool explains in one sentence."""


class PermanentError(RespoolError):
    """Raised when another try would give the same answer."""


class UsageError(PermanentError):
    """Raised when a command or an option cannot be understood or obeyed."""


class BadInput(PermanentError):
    """Raised when a source cannot be read or is not what it says it is."""


class Unsupported(BadInput):
    """Raised when a source is readable but cannot be restored without losing something."""


class SourceChanged(BadInput):
    """Raised when a source is no longer the one that was submitted."""


class WeightsError(PermanentError):
    """Raised when weights are missing, unknown, unsafe, or not the pinned bytes."""


class IntegrityError(PermanentError):
    """Raised when stored bytes differ from the hash that was recorded for them."""


class Missing(IntegrityError):
    """Raised when an object that must be in the store is not."""


class EnhanceError(PermanentError):
    """Raised when a chunk cannot be enhanced on this device."""


class VerifyError(PermanentError):
    """Raised when an assembled result is not what its plan promised."""


class Cancelled(PermanentError):
    """Raised when the user asked for the job to stop."""


class TransientError(RespoolError):
    """Raised when another try, later or elsewhere, may succeed."""


class Unreachable(TransientError):
    """Raised when Redis or S3 does not answer, or refuses the credentials."""


class StorageError(TransientError):
    """Raised when one object could not be read or written."""


class Newer(TransientError):
    """Raised when a message or document has a version that only a newer process knows."""


class CannotServe(TransientError):
    """Raised when this worker cannot compute a job as it was begun."""


class Unsettled(TransientError):
    """Raised when a job's ledger counts chunks as ended of which S3 has neither a commit nor a reason."""


class LeaseLost(TransientError):
    """Raised when another attempt owns the chunk now."""


class Interrupted(TransientError):
    """Raised when the process was told to stop and hands its chunk back."""
