"""Breaking a real cluster on purpose: `make chaos SEED=n` for a mixed storm, `make reliability` for the table.

Every scenario ends by holding the result's frames (pts and hash of each) against an undisturbed decode of the source.
"""

from __future__ import annotations

import argparse
import platform
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from redis import Redis

from benchmarks.clips import make_film
from benchmarks.rig import Rig, differences, rig, through, undisturbed, until
from benchmarks.s3_proxy import Proxy
from orchestrator.announce import Announcer


@dataclass
class Score:
    """What a scenario came to: `trials` hurts, of which `right` ended with the undisturbed frames."""

    fault: str
    trials: int = 0
    right: int = 0
    wrong_frames: int = 0
    recoveries: list[float] = field(default_factory=list)
    remark: str = ""

    def row(self) -> str:
        times = "-"
        if self.recoveries:
            worst = sorted(self.recoveries)[max(0, int(len(self.recoveries) * 0.99 + 0.5) - 1)]
            times = f"{statistics.median(self.recoveries):.1f} / {worst:.1f}"
        return f"| {self.fault} | {self.trials} | {self.right} | {self.wrong_frames} | {times} | {self.remark} |"


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def judge(score: Score, r: Rig, job: str, film: Path, place: Path, seconds: float = 300) -> None:
    """Wait for the end and count what is wrong."""
    manifest = r.finish(job, seconds)
    wrong = differences(undisturbed(film), r.result(job, place)) if manifest.state == "done" else -1
    score.wrong_frames += max(0, wrong)
    if wrong == 0 and not r.strays(job):
        score.right = score.trials
    else:
        score.remark += f"state {manifest.state}, {wrong} frames differ, strays {r.strays(job)}; "


def _holder(r: Rig, job: str, worker: str) -> int | None:
    """The chunk that a worker holds, if any."""
    with Redis.from_url(r.settings.redis_url, decode_responses=True) as raw:
        for chunk, holder in raw.hgetall(f"respool:{{{job}}}:holders").items():
            if holder.split(" ")[1] == worker:
                return int(chunk)
    return None


def kills(count: int, seed: int) -> Score:
    """kill -9 of worker parents and children at random moments, with the leases that users have (30 s)."""
    score, rng = Score("kill -9 of a worker's parent or child at a random moment"), random.Random(seed)
    workers, pace = 4, 5.5  # a worker that dies more than once in 20 s counts as broken
    with folder() as place:
        film = make_film(place / "film.mp4", int(count * pace * 2.5) * 5, seed=seed)
        with rig(place, workers=workers, fault="slow-0.9", lease_ttl_s=30.0, lease_renew_s=10.0) as r:
            job = r.submit(film)
            r.wait_done(job, 8)
            watchers = []
            for n in range(count):
                threading.Event().wait(rng.uniform(pace * 0.8, pace * 1.2))
                if r.records.manifest(job):
                    break
                parent = r.processes("worker")[n % workers].pid
                child = r.pool_process(parent)
                if child is None:
                    continue
                held = _holder(r, job, f"{platform.node()}-{child.pid}")
                r.hurt(parent if rng.random() < 0.5 else child.pid, signal.SIGKILL)
                score.trials += 1
                if held is not None:
                    watchers.append(threading.Thread(target=_watch, args=(r, job, held, child.pid, score)))
                    watchers[-1].start()
            judge(score, r, job, film, place, 3600)
            for watcher in watchers:
                watcher.join()
    return score


def _watch(r: Rig, job: str, chunk: int, dead: int, score: Score) -> None:
    """Note how long it takes until somebody else holds the chunk, or it is done."""
    began = time.monotonic()
    with Redis.from_url(r.settings.redis_url, decode_responses=True) as raw:

        def elsewhere() -> bool:
            holder = raw.hget(f"respool:{{{job}}}:holders", str(chunk))
            done = raw.getbit(f"respool:{{{job}}}:done", chunk) or not raw.exists(f"respool:{{{job}}}")
            return bool(done or (holder and not holder.endswith(f"-{dead}")))

        until(elsewhere, 120, f"chunk {chunk}")
    score.recoveries.append(time.monotonic() - began)


def lost_messages(count: int, seed: int) -> Score:
    """SIGSTOP every idle worker, publish one chunk, kill -9: stock Celery on Redis loses the message each time."""
    score = Score("SIGSTOP an idle worker, publish, kill -9")
    while score.trials < count:
        with folder() as place, rig(place, workers=2) as r:
            for _ in range(min(4, count - score.trials)):  # who dies five times in 20 s counts as broken
                score.trials += 1
                score.right += _lose_one(
                    r, make_film(place / f"{score.trials}.mp4", 5, seed=seed + score.trials), score
                )
    return score


def _lose_one(r: Rig, film: Path, score: Score) -> bool:
    def idle() -> bool:
        live = {f"{platform.node()}-{c.pid}" for p in r.processes("worker") if (c := r.pool_process(p.pid))}
        return len(live) == 2 and live <= set(r.ledger.workers()) and r.consuming() == 2

    until(idle, 120, "idle workers")
    victims = [p.pid for p in r.processes("worker")]
    for pid in victims:
        r.hurt(pid, signal.SIGSTOP)
    job = r.submit(film)
    until(lambda: r.consuming() < 2, 60, "a taken message")  # Redis gave it to one of the stopped
    began = time.monotonic()
    for pid in victims:
        r.hurt(pid, signal.SIGKILL)
    manifest = r.finish(job, 60)
    score.recoveries.append(time.monotonic() - began)
    wrong = differences(undisturbed(film), r.result(job, film.parent / "out")) if manifest.state == "done" else 1
    score.wrong_frames += wrong
    return wrong == 0


def repeated(
    fault: str, count: int, hurt: Callable[[Rig, str, random.Random], None], seed: int, **changes: object
) -> Score:
    """One job of 60 slow chunks on three workers, hurt `count` times."""
    score, rng = Score(fault), random.Random(seed)
    with folder() as place:
        film = make_film(place / "film.mp4", 300, seed=seed)
        with rig(place, workers=3, fault="slow-0.5", **changes) as r:
            job = r.submit(film)
            r.wait_done(job, 3)
            for _ in range(count):
                hurt(r, job, rng)
                score.trials += 1
                before = r.done(job)
                began = time.monotonic()
                until(lambda b=before: r.records.manifest(job) or r.done(job) > b, 120, "the job to go on")
                score.recoveries.append(time.monotonic() - began)
            judge(score, r, job, film, place)
    return score


def stop_and_go(r: Rig, _job: str, rng: random.Random) -> None:
    """A worker sleeps past its lease (4 s) in mid-chunk and wakes up."""
    parent = rng.choice(r.processes("worker")).pid
    child = r.pool_process(parent)
    if child:
        r.hurt(child.pid, signal.SIGSTOP)
        threading.Event().wait(6)
        r.hurt(child.pid, signal.SIGCONT)


def terminate(r: Rig, _job: str, rng: random.Random) -> None:
    threading.Event().wait(rng.uniform(0, 0.8))
    r.hurt(rng.choice(r.processes("worker")).pid, signal.SIGTERM)


def flush(r: Rig, _job: str, _rng: random.Random) -> None:
    with Redis.from_url(r.settings.redis_url) as raw:
        raw.flushall()


def killer(role: str) -> Callable[[Rig, str, random.Random], None]:
    def hurt(r: Rig, _job: str, _rng: random.Random) -> None:
        r.hurt(r.processes(role)[0].pid, signal.SIGKILL)

    return hurt


def duplicate(r: Rig, job: str, _rng: random.Random) -> None:
    plan, announcer = r.records.plan(job), Announcer(r.settings)
    assert plan is not None
    for chunk in plan.chunks:
        announcer.ring(job, chunk.n, chunk.label)


def storm(seed: int, seconds: float) -> Score:
    """Everything at once, drawn from the seed, through an S3 that answers 503 and resets."""
    score, rng = Score(f"storm, seed {seed}"), random.Random(seed)
    acts = {
        "kill worker": lambda r, _, g: r.hurt(g.choice(r.processes("worker")).pid, signal.SIGKILL),
        "stop and go": stop_and_go,
        "terminate": terminate,
        "flush": flush,
        "kill redis": killer("redis"),
        "kill orchestrator": killer("orchestrator"),
        "duplicate": duplicate,
    }
    with (
        folder() as place,
        rig(place, workers=2, fault="storm-0.3", max_attempts=50) as servers,
        Proxy(servers.settings.s3_endpoint, seed, errors=0.1, resets=0.05, cuts=0.05) as proxy,
        through(servers, proxy.url, 1, "storm-0.3", max_attempts=50) as r,
    ):
        # Half of the workers and one of two orchestrators see an S3 that misbehaves, and are not hurt otherwise.
        film = make_film(place / "film.mp4", 1000, seed=seed)
        job = until(lambda: r.patiently(lambda: r.submit(film)), 120, "the submission")
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not servers.patiently(lambda: servers.records.manifest(job)):
            name = rng.choice(sorted(acts))
            sys.stderr.write(f"{name}, {servers.done(job)} done\n")
            acts[name](servers, job, rng)
            score.trials += 1
            threading.Event().wait(rng.uniform(1, 6))
        judge(score, servers, job, film, place, 600)
        score.remark += f"proxy: {proxy.injected}"
    return score


def table(seed: int, scale: float) -> Iterator[Score]:
    """Every row of the reliability page, as it is done; `scale` 1 is the long form."""

    def times(count: int) -> int:
        return max(1, round(count * scale))

    yield kills(times(200), seed)
    yield lost_messages(times(50), seed)
    yield repeated("SIGSTOP past the lease, SIGCONT", times(10), stop_and_go, seed)
    yield repeated(
        "SIGTERM at a random moment (leases of 60 s)",
        times(20),
        terminate,
        seed,
        lease_ttl_s=60.0,
        lease_renew_s=20.0,
    )
    yield repeated("FLUSHALL in mid-job", times(10), flush, seed)
    yield repeated("Redis kill -9", times(5), killer("redis"), seed)
    yield repeated("orchestrator kill -9", times(10), killer("orchestrator"), seed)
    yield repeated("S3 server kill -9", times(4), killer("s3"), seed)
    yield repeated("every message delivered again", times(3), duplicate, seed)
    yield storm(seed, 90 * scale)


HEAD = """# What was broken, and what came of it

Written by `make reliability` on {machine}, {cores} cores, seed {seed}, scale {scale}. Every row is a real embedded
cluster (Redis, SeaweedFS, orchestrator, Celery workers) restoring a film with `--model identity` into FFV1, whose frames
(timestamp and SHA-256 of each) are held against an undisturbed decode of the source; a row is right only when also no
object of a dead attempt is left. Recovery is seconds from the fault until the chunk is held elsewhere (first row) or the
next chunk is done, median / 99th percentile. The exact-line faults (death between upload and commit, commit and ack, last
commit and reassembly, in ingest, dispatch and assembly, everything at once, poison chunks, 20% S3 errors) run in every
`make test`: tests/integration/test_trust.py.

| fault | times | right | frames lost, doubled or changed | recovery s | remark |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Run one storm, or all rows; exit 1 when any result differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="how long the storm lasts")
    parser.add_argument("--table", type=Path, help="run every row and write the page here")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the long form: 200 kills, 50 lost messages")
    options = parser.parse_args()
    if options.table is None:
        scores = [storm(options.seed, options.seconds)]
    else:
        head = HEAD.format(machine=platform.machine(), cores=psutil.cpu_count(), seed=options.seed, scale=options.scale)
        options.table.write_text(head)
        scores = []
        for score in table(options.seed, options.scale):
            scores.append(score)
            with options.table.open("a") as page:  # a row that breaks the bench costs no other
                page.write(score.row() + "\n")
    for score in scores:
        print(score.row())
    return int(any(score.right != score.trials for score in scores))


if __name__ == "__main__":
    sys.exit(main())
