"""The quota of stored bytes: the refusal of a submission that would put its submitter above it.

For each job the store has a mark below its submitter's prefix, written before the job's first source. A mark only tells which
jobs to look at: the bytes are those that the store lists, whatever crashed or was removed meanwhile.
"""

from __future__ import annotations

from contract import keys
from contract.errors import Newer, UsageError
from contract.job import Job
from contract.parallel import in_order
from orchestrator.job_store import AT_ONCE, Records
from stores.object_store import ObjectStore


def mark(job: Job, storage: ObjectStore) -> None:
    """Write down that `job` counts for its submitter."""
    storage.put(keys.submission(job.submitter, job.id), job.submitter.encode())


def stored(submitter: str, records: Records) -> dict[str, int]:
    """Return the bytes of each job of `submitter` in the store; a request for each job and thousand objects of that submitter's."""
    prefix = keys.submissions_prefix(submitter)
    jobs = [name for key, _ in records.storage.list(prefix) if keys.is_job(name := key[len(prefix) :])]

    def size(job: str) -> int:
        return sum(size for _, size in records.storage.list(keys.job_prefix(job)))

    return dict(zip(jobs, in_order(size, jobs, AT_ONCE, "list"), strict=True))


def check(job: Job, adds: int, limit: int, records: Records) -> None:
    """Raise UsageError where `adds` more bytes put the submitter of `job` above `limit` bytes; 0 means no limit."""
    if not limit:
        return
    held = stored(job.submitter, records)
    if sum(held.values()) + adds > limit:  # perhaps with jobs that another submitter has submitted to their ends
        held = {other: size for other, size in held.items() if _counts(other, job.submitter, records)}
    total = sum(held.values())
    if total + adds > limit:
        jobs = sum(size > 0 for size in held.values())
        raise UsageError(
            f"{job.submitter} has {_amount(total)} in the store, of {jobs} job{'' if jobs == 1 else 's'}, and these sources add "
            f"{_amount(adds)}, but the quota is {_amount(limit)}; fetch what has ended, and have it removed by `respool gc --delete` "
            "(with --days 0 --results for all of it), or the quota (RESPOOL_SUBMITTER_BYTES of the orchestrators) raised."
        )


def _counts(job: str, submitter: str, records: Records) -> bool:
    """Return False for a job that says that it is another submitter's: two submitted the same files, and one was first."""
    if not records.storage.exists(keys.job_spec(job)):
        return True  # not submitted to its end
    try:
        return records.job(job).submitter == submitter
    except (Newer, UsageError):
        return True  # nobody else is known to have submitted it


def _amount(size: int) -> str:
    unit, name = next(
        ((unit, name) for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if size >= unit), (1e3, "kB")
    )
    return f"{size / unit:.1f} {name}"
