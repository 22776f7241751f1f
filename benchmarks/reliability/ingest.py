"""Faults at ingest: a film that is refused for its memory, and readers that the kernel kills."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.reliability.score import Score, folder
from testkit import cluster_faults
from testkit.cluster import Rig, rig, through
from testkit.processes import until


def refused(count: int, seed: int) -> Score:
    """Refuse the first of two films for its memory, raise the limit, retry; the worker lives through all of it."""
    score = Score("first of two films of one size refused for its memory, limit raised, retry")
    for n in range(count):
        with folder() as place, rig(place, workers=1, orchestrator=False) as r:
            films = cluster_faults.heavy_and_light(place, 50, seed + 2 * n)
            with through(r, r.settings.s3_endpoint, 0, "hungry", media_memory=cluster_faults.TOO_LITTLE):
                job = r.submit_all(films)
                reason = cluster_faults.reason_for_heavy(r, job)
                if n % 2:  # in the other trials the retry may come before the job is closed
                    until(partial(_closed, r, job), "the job to be closed", 60)
                r.jobs.retry(job)
            with through(r, r.settings.s3_endpoint, 0, "hungry", media_memory=cluster_faults.ENOUGH):
                began = time.monotonic()
                score.judge_films(r, job, films, place, 1)
                score.recoveries.append(time.monotonic() - began)
            _expect(score, "RESPOOL_MEDIA_MEMORY", reason)
    score.remarks.append("seconds are from the new orchestrator's start to the end")
    return score


def killed(count: int, seed: int) -> Score:
    """Kill all that read the first of two films, once with the orchestrator; then there is memory, and a retry."""
    score = Score("kill -9 of each process that reads the first of two films, then a retry")
    for n in range(count):
        with folder() as place, rig(place, workers=1, fault="killed") as r:
            films = cluster_faults.heavy_and_light(place, 50, seed + 2 * n)
            began = time.monotonic()
            job = r.submit_all(films)
            cluster_faults.kill_readers(r, place, job, with_orchestrator=bool(n % 2))
            reason = cluster_faults.reason_for_heavy(r, job)
            score.recoveries.append(time.monotonic() - began)
            more = cluster_faults.reader(place, cluster_faults.KILLS) is not None
            (place / "memory").touch()
            r.jobs.retry(job)
            score.judge_films(r, job, films, place, 1)
            _expect(score, "never" if more else f"killed {cluster_faults.KILLS} times", reason)
    score.remarks.append(
        f"{cluster_faults.KILLS} kills, then that film alone failed with its reason; seconds are until then"
    )
    return score


def _closed(r: Rig, job: str) -> bool:
    return r.ledger.counts(job) is None


def _expect(score: Score, words: str, reason: str) -> None:
    """Count the last trial as wrong when the heavy film did not fail alone, for the reason that has these words."""
    if words not in reason:
        score.right = min(score.right, score.trials - 1)
        score.remarks.append(f"the film alone should have failed with {words!r}, not {reason!r}")
