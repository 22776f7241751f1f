"""Setting a chunk aside whose attempts are used up."""

from __future__ import annotations

from contract import keys
from contract.documents import encode
from contract.job import Failed
from stores.ledger import Ledger
from stores.storage import Storage


def set_aside(storage: Storage, ledger: Ledger, job: str, chunk: int) -> Failed:
    """Write failed.json with the reason of each attempt, then settle the chunk; return what was written.

    S3 first: a ledger that is rebuilt before it hears of it finds the chunk set aside.
    """
    failed = Failed(chunk, ledger.reasons(job, chunk))
    storage.put(keys.failed(job, chunk), encode(failed))
    ledger.settle(job, chunk, "failed")
    return failed
