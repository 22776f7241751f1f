"""Two orchestrators through everything: they are killed, the job is paused, cancelled, collected, submitted and retried beside."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reliability.score import Score, folder
from benchmarks.reliability.servers import flush, killer
from contract.errors import RespoolError, UsageError
from testkit import cluster_faults
from testkit.cluster import Rig, rig
from testkit.processes import until

_ACTS = 16
_WAYS_OUT = 8
"""Times that a user follows the advice of a status."""


def two_orchestrators(count: int, seed: int) -> Score:
    """Draw what happens in a job's life, at random moments; at the end a user does what the status advises."""
    score, happened = (
        Score("two orchestrators through kills, pause, cancel, gc, submission and retry"),
        dict[str, int](),
    )
    for n in range(count):
        rng = random.Random(seed + n)
        fault = "hungry-slow-0.2"
        with (
            folder() as place,
            rig(place, workers=2, fault=fault, media_memory=cluster_faults.TOO_LITTLE) as r,
            cluster_faults.second_orchestrator(r, place, fault) as kill_second,
        ):
            films = cluster_faults.heavy_and_light(place, 50, seed + 2 * n)
            life = _Life(r, films, kill_second, happened)
            for k in range(_ACTS):
                if k == _ACTS // 2:
                    (place / "memory").touch()
                life.act(rng.choice(sorted(life.acts)))
                threading.Event().wait(rng.uniform(0, 2))
            life.judge(score, place)
    score.remarks.append(", ".join(f"{many} {what}" for what, many in sorted(happened.items())))
    score.remarks.append("seconds are from the last of these to the end")
    return score


class _Life:
    """A job, and what may happen to it; counts of what happened go into `happened`."""

    def __init__(self, r: Rig, films: list[Path], kill_second: Callable[[], None], happened: dict[str, int]) -> None:
        self._rig, self._films, self._happened = r, films, happened
        self.job = r.submit_all(films)
        jobs = r.jobs
        self.acts: dict[str, Callable[[], object]] = {
            "kills": lambda: killer("orchestrator")(r),
            "kills of the second": kill_second,
            "pauses": lambda: jobs.control(self.job, paused=True),
            "resumptions": lambda: jobs.control(self.job, paused=False),
            "cancels": lambda: jobs.control(self.job, cancelled=True),
            "collections": lambda: cluster_faults.collect(r),
            "submissions": lambda: r.submit_all(films),
            "submissions beside gc": lambda: self._beside_gc(lambda: r.submit_all(films)),
            "retries": lambda: jobs.retry(self.job),
            "retries beside gc": lambda: self._beside_gc(lambda: jobs.retry(self.job)),
            "FLUSHALLs": lambda: flush(r),
        }

    def act(self, name: str) -> None:
        """Let something happen; a command that is refused is the user's to see, and counted."""
        self._count(name)
        try:
            self.acts[name]()
        except RespoolError:
            self._count("commands refused")

    def _count(self, name: str) -> None:
        self._happened[name] = self._happened.get(name, 0) + 1

    def _beside_gc(self, command: Callable[[], object]) -> None:
        """Give a command while gc removes what it finds."""
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(cluster_faults.collect, self._rig)
            command()
            beside.result()

    def judge(self, score: Score, place: Path) -> None:
        """Do what the status advises until the job is done, and judge it."""
        began = time.monotonic()
        try:
            for _ in range(_WAYS_OUT):
                state = until(self._rest, f"job {self.job} to come to rest", 120)
                if state == "done":
                    break
                if state == "paused":
                    self.act("resumptions")
                    continue
                self.act("submissions")
                self.act("retries")
            score.judge_films(self._rig, self.job, self._films, place, 1)
            score.recoveries.append(time.monotonic() - began)
        except TimeoutError as error:
            score.stuck(error)

    def _rest(self) -> str:
        """Return the state of a job that waits for its user; "" while it goes on by itself."""
        try:
            state = self._rig.patiently(lambda: str(self._rig.jobs.status(self.job).state))
        except UsageError:
            return "collected"  # whole: the same files make it anew
        return state if state in ("done", "failed", "cancelled", "paused") else ""
