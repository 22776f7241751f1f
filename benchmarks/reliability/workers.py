"""Faults of workers: they die, sleep, or are asked to leave."""

from __future__ import annotations

import platform
import random
import signal
import statistics
import threading
import time
from functools import partial
from pathlib import Path

from redis import Redis

from benchmarks.reliability.score import Score, batches, folder
from testkit import cluster_faults
from testkit.clips import make_film
from testkit.cluster import Rig, differences, rig, through, undisturbed
from testkit.processes import until

PHASES = ("claimed", "fetched", "enhancing", "storing", "verifying", "committing", "committed")
"""Phases in which the file `arm` (testkit/faults) asks a worker to leave, or kills it."""


def _holder(raw: Redis, job: str, chunk: int) -> str:
    """Return the attempt and worker that hold a chunk; empty when none does."""
    return str(raw.hget(f"respool:{{{job}}}:holders", str(chunk)) or "")


def _held_chunk(r: Rig, job: str, pid: int) -> list[int]:
    """Return the chunk that a worker holds, in a list that is empty while it holds none."""
    held = _held(r, job, pid)
    return [] if held is None else [held]


def _held(r: Rig, job: str, child: int) -> int | None:
    """Return the chunk that a pool process holds, if any."""
    with Redis.from_url(r.settings.redis_url, decode_responses=True) as raw:
        for chunk, holder in raw.hgetall(f"respool:{{{job}}}:holders").items():
            if holder.endswith(f" {platform.node()}-{child}"):
                return int(chunk)
    return None


def _settled(raw: Redis, job: str, chunk: int) -> bool:
    return bool(raw.getbit(f"respool:{{{job}}}:done", chunk)) or not raw.exists(f"respool:{{{job}}}")


def _watch(r: Rig, job: str, chunk: int, dead: int, score: Score) -> None:
    """Record the time until another worker holds the chunk, or it is done."""
    began = time.monotonic()
    with Redis.from_url(r.settings.redis_url, decode_responses=True) as raw:

        def elsewhere() -> bool:
            holder = _holder(raw, job, chunk)
            return _settled(raw, job, chunk) or bool(holder and not holder.endswith(f"-{dead}"))

        until(elsewhere, f"chunk {chunk}", 120)
    score.recoveries.append(time.monotonic() - began)


def kills(count: int, seed: int) -> Score:
    """Kill worker parents and children with SIGKILL at random moments, with the default leases of 30 s."""
    score, rng = Score("kill -9 of a worker's parent or child at a random moment"), random.Random(seed)
    workers, pace = 4, 5.5  # a worker that dies more than once in 20 s counts as broken
    with folder() as place:
        film = make_film(place / "film.mp4", int(count * pace * 3.6) * 5, seed=seed)
        with rig(place, workers=workers, fault="slow-0.9", lease_ttl_s=30.0, lease_renew_s=10.0) as r:
            job = r.submit(film)
            r.wait_done(job, 8)
            watchers = []
            hurt = 0
            for n in range(count):
                threading.Event().wait(rng.uniform(pace * 0.8, pace * 1.2))
                if r.records.manifest(job):
                    break
                parent = r.processes("worker")[n % workers].pid
                child = until(partial(r.pool_process, parent), "a pool process", 60)
                held = _held(r, job, child.pid)
                r.hurt(parent if rng.random() < 0.5 else child.pid, signal.SIGKILL)
                hurt += 1
                if held is not None:
                    watchers.append(threading.Thread(target=_watch, args=(r, job, held, child.pid, score)))
                    watchers[-1].start()
            score.judge(r, job, film, place, hurt, 3600)
            for watcher in watchers:
                watcher.join()
    score.remarks.append(f"leases of 30 s; {len(score.recoveries)} of the killed held a chunk")
    score.remarks.append(f"{sum(seconds > 45 for seconds in score.recoveries)} took more than 45 s")
    return score


def lost_messages(count: int, seed: int) -> Score:
    """Stop every idle worker, publish one chunk, then SIGKILL: stock Celery on Redis loses the message each time."""
    score = Score("SIGSTOP an idle worker, publish, kill -9")
    for batch in batches(count, 4):
        with folder() as place, rig(place, workers=2) as r:
            for n in range(batch):
                _lose_one(r, make_film(place / f"{n}.mp4", 5, seed=seed + score.trials), score)
    return score


def _lose_one(r: Rig, film: Path, score: Score) -> None:
    def idle() -> bool:
        live = {f"{platform.node()}-{c.pid}" for p in r.processes("worker") if (c := r.pool_process(p.pid))}
        return len(live) == 2 and live <= set(r.ledger.workers()) and r.consuming() == 2

    until(idle, "idle workers", 120)
    victims = [p.pid for p in r.processes("worker")]
    for pid in victims:
        r.hurt(pid, signal.SIGSTOP)
    job = r.submit(film)
    until(lambda: r.consuming() < 2, "a taken message", 60)  # Redis gave it to one of the stopped
    began = time.monotonic()
    for pid in victims:
        r.hurt(pid, signal.SIGKILL)
    manifest = r.finish(job, 300)
    score.recoveries.append(time.monotonic() - began)
    wrong = differences(undisturbed(film), r.result(job, film.parent / "out")) if manifest.state == "done" else 5
    score.trials += 1
    score.right += wrong == 0
    score.wrong_frames += wrong


def sleepers(count: int, seed: int) -> Score:
    """Stop a worker in mid-chunk past its lease, then continue it: another has the chunk, the stale commit is refused."""
    score, rng, refused = Score("SIGSTOP past the lease, SIGCONT"), random.Random(seed), 0
    with folder() as place:
        film = make_film(place / "film.mp4", 150 + 75 * count, seed=seed)
        with rig(place, workers=3, fault="slow-0.5") as r:
            job = r.submit(film)
            r.wait_done(job, 3)
            for _ in range(count):
                child = until(lambda: r.pool_process(rng.choice(r.processes("worker")).pid), "a pool process", 60)
                chunk = until(partial(_held_chunk, r, job, child.pid), "a chunk", 60)[0]
                r.hurt(child.pid, signal.SIGSTOP)
                threading.Event().wait(6)  # the lease is of 4 s
                r.hurt(child.pid, signal.SIGCONT)
                _watch(r, job, chunk, child.pid, score)
            score.judge(r, job, film, place, count)
            logs = "".join(log.read_text(errors="replace") for log in r.cluster.folder.logs.glob("worker*.log"))
            refused = logs.count("Another attempt owns the chunk now")
    score.remarks.append(f"{refused} stale attempts heard that the chunk is another's, none left an object")
    return score


def told_to_leave(count: int, seed: int) -> Score:
    """Send SIGTERM in every phase of a chunk, `count` times each, with leases of 60 s that must not be waited for."""
    phases = [phase for _ in range(count) for phase in PHASES]
    score, kept = Score(f"SIGTERM in every phase ({', '.join(PHASES)})"), 0
    late: list[str] = []
    for batch in batches(len(phases), 12):
        with folder() as place:
            film = make_film(place / "film.mp4", batch * 150, seed=seed)
            with rig(place, workers=4, fault="armed-0.4", lease_ttl_s=60.0, lease_renew_s=20.0) as r:
                job = r.submit(film)
                for n in range(batch):
                    phase = phases[score.trials + n]
                    victim, chunk = _spring(r, job, place, f"term {phase}")
                    seconds, back = _leaving(r, job, chunk, victim)
                    score.recoveries.append(seconds)
                    kept += not back
                    late += [f"{phase}: {seconds:.1f} s"] if seconds > 5 else []
                counts = r.ledger.counts(job)
                score.judge(r, job, film, place, batch)
                if counts is None or counts.retried:
                    score.remarks.append("an attempt was counted as failed")
    score.remarks.append(f"leases of 60 s; {kept} chunks were still held when their process had ended")
    score.remarks.extend(late)
    return score


def _spring(r: Rig, job: str, place: Path, order: str) -> tuple[int, int]:
    """Arm a fault and wait until a worker meets it: (its pool process, the chunk that it holds)."""
    before = r.done(job)
    r.wait_done(job, before + 4)
    (place / "arming").write_text(order)
    (place / "arming").rename(place / "arm")
    fired = place / "fired"
    until(fired.exists, f"a worker that is hurt by {order!r}", 60)
    pid, chunk = until(lambda: fired.read_text().split(), "its name", 10)
    fired.unlink()
    return int(pid), int(chunk)


def _leaving(r: Rig, job: str, chunk: int, victim: int) -> tuple[float, bool]:
    """Return (seconds until the chunk is done or another worker's, True if it was handed back before the process ended)."""
    import psutil

    began, back = time.monotonic(), True
    with Redis.from_url(r.settings.redis_url, decode_responses=True) as raw:

        def elsewhere() -> bool:
            nonlocal back
            gone = not psutil.pid_exists(victim)
            holder = _holder(raw, job, chunk)
            mine = holder.endswith(f"-{victim}")
            if gone and mine:
                back = False
            return _settled(raw, job, chunk) or bool(holder and not mine)

        until(elsewhere, f"chunk {chunk}", 120)
    return time.monotonic() - began, back


def worst_lines(count: int, seed: int) -> Score:
    """Kill with SIGKILL between upload and commit, commit and ledger, ledger and ack; `count` times each."""
    score, lines = Score("kill -9 between upload and commit, commit and ledger, ledger and ack"), (*PHASES[4:], "told")
    phases = [line for _ in range(count) for line in lines]
    for batch in batches(len(phases), 12):
        with folder() as place:
            film = make_film(place / "film.mp4", batch * 150, seed=seed)
            with rig(place, workers=4, fault="armed-0.4") as r:
                job = r.submit(film)
                for n in range(batch):
                    victim, chunk = _spring(r, job, place, f"kill {phases[score.trials + n]}")
                    _watch(r, job, chunk, victim, score)
                score.judge(r, job, film, place, batch)
    return score


def broken(count: int, seed: int) -> Score:
    """Take one of two workers its scratch space, idle or in mid-chunk, and give it back; one failed try sets a chunk aside."""
    score = Score("scratch space of one of two workers becomes unwritable, and is mended")
    again: list[float] = []
    for n in range(count):
        with folder() as place:
            film, scratch = make_film(place / "film.mp4", 600, seed=seed + n), place / "scratch"
            scratch.mkdir()
            slow = "slow-0.4"
            with (
                rig(place, workers=1, fault=slow, max_attempts=1) as r,
                through(r, r.settings.s3_endpoint, 1, slow, orchestrator=False, scratch=scratch, max_attempts=1),
            ):
                until(lambda: len(r.ledger.workers()) == 2, "two workers", 60)
                if n % 2:
                    cluster_faults.spoil(scratch)
                job = r.submit(film)
                if not n % 2:
                    r.wait_done(job, 4)
                    cluster_faults.spoil(scratch)
                began = time.monotonic()
                (out,) = until(partial(cluster_faults.withdrawn, r), "a worker that takes itself out", 60)
                score.recoveries.append(time.monotonic() - began)
                r.wait_done(job, r.done(job) + 5)
                made = cluster_faults.frames_of(r, out)
                cluster_faults.mend(scratch)
                began = time.monotonic()
                until(lambda: cluster_faults.frames_of(r, out) > made, "its return", 120)  # noqa: B023 - called at once
                again.append(time.monotonic() - began)
                score.judge(r, job, film, place, 1)
    score.remarks.append(
        "one try a chunk, none counted; recovery is until the worker took itself out; "
        f"{statistics.median(again):.1f} s from the mending to its next chunk"
    )
    return score
