"""The pace of ended jobs, as their manifests record it, and the working time of a new job by it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contract import keys
from contract.documents import decode
from contract.errors import IntegrityError, Newer, UsageError
from contract.job import Done, Job, Kind, Manifest, Spec
from contract.masks import results_of
from contract.parallel import in_order
from contract.time_filters import asked
from orchestrator.job_store import AT_ONCE, Records

logger = logging.getLogger(__name__)

RECORD = "work"
"""Name of the pace in a manifest's record."""
_JOBS = 400
"""Jobs of a store that are looked at, in the order of their ids, which says nothing about them."""
_LARGEST = 4 << 20
"""Bytes of a manifest that is read for its pace; those of jobs with more than about 10,000 results are larger."""
_LEAST = 1e-4
"""Least megapixels that tell a pace: what `work_done` rounds to."""
_LOADS_S = 0.1
"""Seconds of loading from which on a chunk was its worker's first with this network."""
_SETTLED_S = 5.0
"""Seconds of work from which on a job's pace counts before those of shorter ones, in which starting chunks weighs more."""

Amount = Annotated[float, Meta(ge=0, le=1e12)]
"""Bounded, as manifests come from a store that others may write to."""


class Work(Struct, frozen=True):
    """Work of one job: source pixels in millions that went one `way` on one `device`, and the seconds of workers at them.

    Loading of networks is not in `seconds`. The way is what `way_of` returns. The device is called by the name of its GPU or
    processor where workers tell it.
    """

    way: str
    device: str
    megapixels: Amount
    seconds: Amount


def way_of(kind: Kind, spec: Spec, scale: float) -> str:
    """Name all that decides how long a pixel of the source takes; `scale` is that of the generator itself."""
    parts = [spec.model, f"at {spec.scale or scale:g}x"]
    if spec.faces:
        parts.append(f"with faces by {spec.faces.model}")
    if kind == "video":
        parts += [one.done for one in asked(spec)]
    if kind == "video":
        parts.append(f"in {spec.codec}" + (f" {spec.preset}" if spec.preset else ""))
    return ("film: " if kind == "video" else "image: ") + " ".join(parts)


def work_done(job: Job, scale: float, commits: Iterable[Done]) -> list[Work]:
    """Sum the work of a job's commits by way and device; commits that do not tell their seconds are left out.

    A worker's first chunk with a network is slower than the others (kernels are compiled, memory is touched for the first time): it
    counts only where no other chunk went the same way on the same device.
    """
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    first: dict[tuple[str, str], tuple[float, float]] = {}
    factor = (job.spec.scale or scale) ** 2 * 1e6
    for done in commits:
        pixels = sum(output.width * output.height * output.frames for output in results_of(done))
        try:
            seconds = msgspec.json.decode(done.record.get("seconds", b"{}"), type=dict[str, float])
            device = msgspec.json.decode(done.record.get("device", b'""'), type=str)
            device = msgspec.json.decode(done.record.get("hardware", b'""'), type=str) or device
        except msgspec.DecodeError as error:  # a record decides nothing: the job is delivered all the same
            logger.warning("the pace of chunk %s is not counted: %s", done.chunk, error, extra={"job": job.id})
            continue
        spent = seconds.get("whole", 0.0) - seconds.get("load", 0.0)
        if spent <= 0 or not pixels:
            continue
        way = way_of(job.items[done.outputs[0].item].kind, job.spec, scale)
        kept = first if seconds.get("load", 0.0) >= _LOADS_S else sums
        before = kept.get((way, device), (0.0, 0.0))
        kept[way, device] = before[0] + pixels / factor, before[1] + spent
    return [Work(*which, round(amount, 4), round(spent, 3)) for which, (amount, spent) in (first | sums).items()]


def past_work(records: Records) -> list[Work]:
    """Read the work of up to 400 ended jobs; those of older versions tell none."""
    jobs = islice(records.jobs(), _JOBS)
    return list(chain.from_iterable(in_order(lambda job: _of_job(records, job), jobs, AT_ONCE, "read")))


def _of_job(records: Records, job: str) -> list[Work]:
    key = keys.manifest(job)
    try:
        data = records.storage.find(key, _LARGEST)
        if data is None:
            return []
        record = decode(data, Manifest, key).record
        return msgspec.json.decode(record[RECORD], type=list[Work]) if RECORD in record else []
    except (UsageError, IntegrityError, Newer, msgspec.DecodeError) as error:
        logger.info("its pace is not counted: %s", error, extra={"job": job})
        return []


def working_seconds(past: Sequence[Work], wanted: Sequence[tuple[str, float]]) -> tuple[float, float, int] | None:
    """Return the least and most seconds of one worker for `wanted`, pairs of a way and megapixels, and the number of jobs that tell.

    Each way is taken at the slowest and the fastest pace at which ended jobs went it. None where no job went one of them.
    """
    low = high = 0.0
    told = 0
    for way, megapixels in wanted:
        same = [work for work in past if work.way == way and work.megapixels >= _LEAST]
        same = [work for work in same if work.seconds >= _SETTLED_S] or same
        if not same:
            return None
        paces = [work.seconds / work.megapixels for work in same]
        low, high, told = low + min(paces) * megapixels, high + max(paces) * megapixels, told + len(same)
    return low, high, told
