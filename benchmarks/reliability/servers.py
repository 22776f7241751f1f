"""Faults of servers: Redis forgets or dies, orchestrators and stores die, S3 misbehaves, everything at once."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from redis import Redis

from benchmarks.reliability import observations
from benchmarks.reliability.score import Score, batches, folder
from testkit.clips import make_film
from testkit.cluster import Rig, rig, through
from testkit.faulty_s3 import Proxy
from testkit.processes import until

Hurt = Callable[[Rig], None]

LINES = ("in-ingest", "in-dispatch", "before-assembly", "in-assembly", "before-manifest", "after-manifest")
"""Places at which an orchestrator dies once (testkit/faults)."""


def _more_settled(r: Rig, job: str, before: int) -> bool:
    return len(r.patiently(lambda: r.records.settled(job)[0]) or ()) > before


def flush(r: Rig) -> None:
    """Empty Redis."""
    with Redis.from_url(r.settings.redis_url) as raw:
        raw.flushall()


def killer(role: str) -> Hurt:
    """Return a fault that kills a process of `role`."""

    def hurt(r: Rig) -> None:
        r.hurt(r.processes(role)[0].pid, signal.SIGKILL)

    return hurt


def hurt_in_mid_job(fault: str, count: int, hurt: Hurt, seed: int) -> Score:
    """Run jobs of 60 slow chunks on three workers, each with up to three faults at random moments."""
    score, rng, again = Score(fault), random.Random(seed), 0
    for batch in batches(count, 3):
        with folder() as place:
            film = make_film(place / "film.mp4", 300, seed=seed)
            with rig(place, workers=3, fault="slow-0.5") as r:
                job = r.submit(film)
                for _ in range(batch):
                    r.wait_done(job, r.done(job) + 3)
                    threading.Event().wait(rng.uniform(0, 1))
                    committed = r.records.settled(job)[0]
                    since, began = time.time(), time.monotonic()
                    hurt(r)
                    before = len(committed)
                    until(partial(_more_settled, r, job, before), "", 120)
                    score.recoveries.append(time.monotonic() - began)
                score.judge(r, job, film, place, batch)
                again += observations.repeated(place, committed, since)
    score.remarks.append(f"{again} committed chunks computed again")
    return score


def orchestrator_lines(count: int, seed: int) -> Score:
    """Kill an orchestrator at exact lines of ingest, dispatch, assembly, around the manifest; `count` times each."""
    score = Score("orchestrator kill -9 " + ", ".join(line.replace("-", " ") for line in LINES))
    for line in LINES * count:
        _die_once(score, line, seed + score.trials)
    return score


def last_commit(count: int, seed: int) -> Score:
    """Kill the worker of the last chunk between its commit and the ledger: only the reconciler can notice."""
    score = Score("kill -9 between the last commit and reassembly")
    for _ in range(count):
        _die_once(score, "last-commit", seed + score.trials)
    return score


def _die_once(score: Score, line: str, seed: int) -> None:
    with folder() as place:
        film = make_film(place / "film.mp4", 50, seed=seed)
        with rig(place, workers=1, fault=line) as r:
            job = r.submit(film)
            until((place / line).exists, f"the death {line}", 120)
            began = time.monotonic()
            score.judge(r, job, film, place, 1)
            score.recoveries.append(time.monotonic() - began)


def everything(count: int, seed: int) -> Score:
    """Kill every process of the cluster with SIGKILL in mid-job, then start a new cluster on the same folder."""
    score, again, flying, rng = Score("everything killed at once, run again"), 0, 0, random.Random(seed)
    for n in range(count):
        with folder() as place:
            film = make_film(place / "film.mp4", 100, seed=seed + n)
            with rig(place, workers=2, fault="slow-0.3") as r:
                job = r.submit(film)
                r.wait_done(job, 4)
                threading.Event().wait(rng.uniform(0, 2))
                counts = r.ledger.counts(job)
                assert counts is not None
                flying += counts.running
                life = r.cluster.life
                assert life.supervisor is not None
                for process in (life.supervisor, *life.processes):
                    r.hurt(process.pid, signal.SIGKILL)
            since = time.time()
            began = time.monotonic()
            with rig(place, workers=2, fault="slow-0.3") as r:
                committed = r.records.settled(job)[0]
                assert r.submit(film) == job
                r.wait_done(job, len(committed) + 1)
                score.recoveries.append(time.monotonic() - began)
                score.judge(r, job, film, place, 1)
                again += observations.repeated(place, committed, since)
    score.remarks.append(f"{again} committed chunks computed again, {flying} were in flight")
    return score


def misbehaving_s3(count: int, seed: int) -> Score:
    """Run submitter, orchestrator and worker behind a store that fails; read the result from the real one."""
    score = Score("S3: 20% of requests 503, 10% reset, 5% of bodies cut, all up to 50 ms late")
    injected = {"errors": 0, "resets": 0, "cuts": 0}
    for n in range(count):
        with folder() as place:
            film = make_film(place / "film.mp4", 100, seed=seed + n)
            with (
                rig(place, workers=0, orchestrator=False) as servers,
                Proxy(servers.settings.s3_endpoint, seed + n, 0.2, 0.1, 0.05, delay_s=0.05) as proxy,
                through(servers, proxy.url, workers=2, max_attempts=20) as r,
            ):
                began = time.monotonic()
                job = _submitted(r, film)
                score.judge(servers, job, film, place, 1)
                score.recoveries.append(time.monotonic() - began)
                injected = {name: injected[name] + proxy.injected[name] for name in injected}
    score.remarks.append("seconds are whole jobs; " + ", ".join(f"{many} {what}" for what, many in injected.items()))
    return score


def brown_out(count: int, seconds: int, seed: int) -> Score:
    """Let S3 refuse every request for `seconds`, in mid-job, in ingest, or once all is done; one failed try sets a chunk aside."""
    score = Score("S3 answers 503 to every request, in mid-job, in ingest, before assembly")
    refused = counted = 0
    for n in range(count):
        with folder() as place:
            film = make_film(place / "film.mp4", 100, seed=seed + n)
            with (
                rig(place, workers=0, orchestrator=False, max_attempts=1) as servers,
                Proxy(servers.settings.s3_endpoint, seed + n) as proxy,
                through(servers, proxy.url, 2, "slow-0.3", max_attempts=1),
            ):
                until(lambda: len(servers.ledger.workers()) == 2, "two workers", 60)
                job = servers.submit(film)
                servers.wait_done(job, (4, 0, 20)[n % 3])
                proxy.errors = 1.0
                threading.Event().wait(seconds)
                counts = servers.ledger.counts(job)
                counted += counts.retried if counts else 0
                proxy.errors = 0.0
                began = time.monotonic()
                score.judge(servers, job, film, place, 1)
                score.recoveries.append(time.monotonic() - began)
                refused += proxy.injected["errors"]
    score.remarks.append(
        f"for {seconds} s, {refused} requests; one try a chunk, {counted} counted; seconds are until the job is done"
    )
    return score


def _submitted(r: Rig, film: Path) -> str:
    return until(lambda: r.patiently(lambda: r.submit(film)), "the submission", 120)
