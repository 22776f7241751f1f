"""The witnesses of one film of a job, as assembly calls them: they read what the store holds and apply the checks."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from contract.film import FilmIndex
from contract.job import Damage, Done, Item, Job
from orchestrator.ingest.job import open_source
from orchestrator.witness.decoding_check import Checked, check_decoding, fingerprints
from orchestrator.witness.delivery_check import Delivery, check_delivery
from orchestrator.witness.source_reading import SourceReading, read_source, stored_reading
from stores.object_store import ObjectStore


def witness_decoding(
    job: Job,
    item: Item,
    film: tuple[FilmIndex, str],
    commits: Sequence[Done],
    damage: Sequence[Damage],
    storage: ObjectStore,
    checkpoint: Callable[[], None],
) -> Checked:
    """Hold the workers' frames against a plain decode of the source; raise VerifyError where they are others.

    `film` is the index and its SHA-256 in the plan.
    """
    index, sha256 = film
    choice = job.spec.witness
    if choice == "off":
        return Checked({"choice": "off"}, [])
    reading = stored_reading(job, item, sha256, storage, checkpoint, index)

    def again() -> SourceReading:
        source = io.BufferedReader(open_source(storage, job, item), 1 << 20)
        return read_source(source, index, choice, item.name, checkpoint, threads=0)

    return check_decoding(index, fingerprints(commits), damage, reading, choice, again)


def witness_result(
    job: Job,
    item: Item,
    film: tuple[FilmIndex, str],
    delivery: Delivery,
    storage: ObjectStore,
    checkpoint: Callable[[], None],
) -> dict[str, object]:
    """Return the record of a result that holds what its source asks for; raise VerifyError for any other.

    `film` is the index and its SHA-256 in the plan.
    """
    index, sha256 = film
    if job.spec.witness == "off":
        return {}
    heard = stored_reading(job, item, sha256, storage, checkpoint, index).sound
    source = io.BufferedReader(open_source(storage, job, item), 1 << 20)
    return check_delivery(delivery, index, source, item, job.spec.witness, heard, checkpoint)
