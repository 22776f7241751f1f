"""A mixed storm of faults on a real cluster: `make chaos SEED=n`; `make reliability` takes one fault at a time.

At the end the result's frames (pts and hash of each) are compared with an undisturbed decode of the source.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time

from benchmarks.reliability.score import Score, folder
from benchmarks.reliability.servers import flush, killer
from orchestrator.service.publisher import Publisher
from testkit.clips import make_film
from testkit.cluster import Rig, rig, through
from testkit.faulty_s3 import Proxy
from testkit.processes import until


def stop_and_go(r: Rig, _job: str, rng: random.Random) -> None:
    """Stop a worker in mid-chunk until after its lease (4 s), then continue it."""
    parent = rng.choice(r.processes("worker")).pid
    child = r.pool_process(parent)
    if child:
        r.hurt(child.pid, signal.SIGSTOP)
        threading.Event().wait(6)
        r.hurt(child.pid, signal.SIGCONT)


def terminate(r: Rig, _job: str, rng: random.Random) -> None:
    """Send SIGTERM to a random worker after a random moment."""
    threading.Event().wait(rng.uniform(0, 0.8))
    r.hurt(rng.choice(r.processes("worker")).pid, signal.SIGTERM)


def duplicate(r: Rig, job: str, _rng: random.Random) -> None:
    """Publish every chunk of the job again; none before it is planned."""
    plan, publisher = r.records.plan(job), Publisher(r.settings)
    for chunk in plan.chunks if plan else ():
        publisher.publish(job, chunk.n, chunk.label)


def storm(seed: int, seconds: float) -> Score:
    """Inject all faults, drawn from the seed, through an S3 that answers 503 and resets."""
    score, rng, hurts = Score(f"storm of all of these, seed {seed}"), random.Random(seed), 0
    acts = {
        "kill worker": lambda r, _, g: r.hurt(g.choice(r.processes("worker")).pid, signal.SIGKILL),
        "stop and go": stop_and_go,
        "terminate": terminate,
        "flush": lambda r, *_: flush(r),
        "kill redis": lambda r, *_: killer("redis")(r),
        "kill orchestrator": lambda r, *_: killer("orchestrator")(r),
        "duplicate": duplicate,
    }
    with (
        folder() as place,
        rig(place, workers=2, fault="storm-0.3", max_attempts=50) as servers,
        Proxy(servers.settings.s3_endpoint, seed, errors=0.1, resets=0.05, cuts=0.05) as proxy,
        through(servers, proxy.url, 1, "storm-0.3", max_attempts=50) as r,
    ):
        # Half of the workers and one of two orchestrators see an S3 that misbehaves, and get no other fault.
        film = make_film(place / "film.mp4", 1000, seed=seed)
        job = until(lambda: r.patiently(lambda: r.submit(film)), "the submission", 120)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not servers.patiently(lambda: servers.records.manifest(job)):
            name = rng.choice(sorted(acts))
            sys.stderr.write(f"{name}, {servers.done(job)} done\n")
            acts[name](servers, job, rng)
            hurts += 1
            threading.Event().wait(rng.uniform(1, 6))
        score.judge(servers, job, film, place, hurts, 600)
        score.remarks.append("S3 besides: " + ", ".join(f"{many} {what}" for what, many in proxy.injected.items()))
    return score


def main() -> int:
    """Run one storm; 1 when the result differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="how long the storm lasts")
    options = parser.parse_args()
    score = storm(options.seed, options.seconds)
    print(score.row())
    return int(score.right != score.trials)


if __name__ == "__main__":
    sys.exit(main())
