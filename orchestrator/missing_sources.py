"""Sources of a job that the store does not hold."""

from __future__ import annotations

from contract import keys
from contract.job import Job
from orchestrator.job_store import Records


def missing_sources(records: Records, job: Job) -> list[int]:
    """Return the items whose sources are missing in the store or have another size, except those never uploaded."""
    prefix = keys.items_prefix(job.id)
    sizes = dict(records.storage.list(prefix))
    return [
        item.n
        for item in job.items
        if keys.refused(job.id, item.n) not in sizes and sizes.get(keys.source(job.id, item.n)) != item.size
    ]
