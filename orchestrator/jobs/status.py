"""Status of a job: progress, speed, damage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from contract.job import Damage, ItemFailure, Job, Plan, State
from media.nvenc import ENCODERS as CARDS
from stores.ledger import Counts

_RATE_WINDOW_S = 120.0


class Progress(Struct, frozen=True):
    """A total and the part of it that is done."""

    total: int
    done: int


class ChunkProgress(Struct, frozen=True):
    """Numbers of chunks."""

    total: int
    done: int
    failed: int
    running: int


class ImageProgress(Struct, frozen=True):
    """Images that the plan has work for, and their pixels in millions; finished ones are counted chunk by chunk."""

    total: int
    done: int
    megapixels_total: float
    megapixels_done: float


class JobStatus(Struct, frozen=True):
    """A job as `respool status --json` shows it; fields are only ever added.

    `frames.done` includes those of running chunks. `fps` is the pace that this client has seen, else that of the last two
    minutes, and `eta_s` is derived from it; both are None while unknown. `damaged` lists spans of frames that the source does not hold intact. `films` counts items, and
    `images` is None while there is no plan or no image in it. `severities` counts notes, losses, damages and failures; `losses` are those
    of the notes that tell of something that a result does not carry. `behind` names the jobs that all workers are at while none is
    at this one. `blocked` says why no live worker can compute the job, `held` which quota of its submitter it waits for.
    """

    id: str
    state: State
    name: str
    created: str
    items: int
    chunks: ChunkProgress
    frames: Progress
    fps: float | None
    eta_s: float | None
    workers: int
    retried: int
    handed_back: int
    damaged: tuple[Damage, ...] = ()
    failures: tuple[ItemFailure, ...] = ()
    notes: tuple[str, ...] = ()
    films: int = 0
    severities: dict[str, int] = {}
    losses: tuple[str, ...] = ()
    images: ImageProgress | None = None
    behind: tuple[str, ...] = ()
    blocked: str = ""
    submitter: str = ""
    held: str = ""


def handed_back(counts: Counts) -> int:
    """Count the attempts that were handed back without a fault; the ledger's count has those that failed, too."""
    return counts.handed_back - (counts.retried - counts.lapsed)


def held(counts: Counts, in_flight: int, limit: int) -> str:
    """Return the quota at which the job of `counts` is held, of `limit` chunks `in_flight`; empty where it is not."""
    if not limit or in_flight < limit or not counts.open or counts.paused or counts.cancelled:
        return ""
    whose = f"{counts.submitter}'s" if counts.submitter else "its submitter's"
    return f"at {whose} quota of {limit} chunk{'' if limit == 1 else 's'}"


def blocked(job: Job, plan: Plan | None, workers: Mapping[str, Mapping[str, object]]) -> str:
    """Return why no live worker can compute `job`, with what to do; empty where one may, or none lives."""
    old = [_too_old(job, plan, worker) for worker in workers.values()]
    refusals = [_reasons(worker, "declines").get(job.id, "") for worker in workers.values()]
    if not workers or not all(one or other for one, other in zip(old, refusals, strict=True)):
        return ""
    unable = next(filter(None, refusals), "")
    if not unable:
        return f"no worker can go on with it: all are of an older version of Respool ({old[0]}); upgrade one, or start a newer one."
    other = "--codec or --precision" if job.spec.codec in CARDS else "--precision"
    return (
        f"no worker can go on with it: {unable} Start a worker that can, or cancel the job and submit it with "
        f"another {other}."
    )


def _too_old(job: Job, plan: Plan | None, worker: Mapping[str, object]) -> str:
    """Return what a worker of an older version cannot read of `job`; empty where it can.

    A worker whose heartbeat does not tell which documents it reads is of a version that knew no submitters.
    """
    told = _reasons(worker, "newer").get(job.id, "")
    if told:
        return told.rstrip(".")
    reads = worker.get("reads")
    if isinstance(reads, int) and plan is not None and plan.version > reads:
        return f"its plan is of version {plan.version}, and they read {reads}"
    return "its job.json names a submitter" if reads is None and job.submitter else ""


def _reasons(worker: Mapping[str, object], field: str) -> dict[str, str]:
    found = worker.get(field)
    return found if isinstance(found, dict) else {}


def image_progress(job: Job, plan: Plan, done: Callable[[int], bool]) -> ImageProgress | None:
    """Count the images of `job` whose chunks are `done`; None when the plan has none."""
    pixels = ready = 0.0
    bands: dict[int, bool] = {}  # of an image that several chunks make
    total = count = 0
    for chunk in plan.live:
        if chunk.kind != "image":
            continue
        here = sum(item.pixels for item in job.items[chunk.first : chunk.first + chunk.count]) / chunk.bands
        finished = done(chunk.n)
        pixels += here
        ready += here * finished
        if chunk.bands > 1:
            bands[chunk.item] = bands.get(chunk.item, True) and finished
        else:
            total += chunk.count
            count += chunk.count * finished
    if not total and not bands:
        return None
    return ImageProgress(total + len(bands), count + sum(bands.values()), round(pixels / 1e6, 3), round(ready / 1e6, 3))


def waits_behind(workers: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """Return the jobs that keep all `workers` (their heartbeats) busy; nothing while one is free or there is none."""
    at = [str(worker.get("job") or "") for worker in workers]
    return tuple(sorted(set(at))) if at and all(at) else ()


def rate(now: float, commits: list[tuple[float, int]]) -> float | None:
    """Return frames a second over the last two minutes from (time, frames) of commits, newest first; None while unknown."""
    fresh = [(at, frames) for at, frames in commits if now - at < _RATE_WINDOW_S]
    if len(fresh) < 2:
        return None
    # The oldest commit only starts the span: its own frames were made before it.
    span = max(now - fresh[-1][0], 1e-3)
    return sum(frames for _, frames in fresh[:-1]) / span
