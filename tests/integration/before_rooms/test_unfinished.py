"""Jobs that commit 14e2eb9 left unfinished: today's processes take over its ledger, its messages and its chunks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

UNFINISHED = {"interrupted": (8, 40), "paused": (3, 15)}
"""Jobs with their chunks and frames."""
HOUR_S = 3600.0
Frames = Callable[[Path], list[tuple[float, str]]]
Until = Callable[[Callable[[], object], str], None]


def commits(before: Any, name: str) -> dict[int, bytes]:
    """Return the commits of a job as they are now, by chunk."""
    found = {n: before.get(name, f"chunks/{n}/done.json") for n in range(UNFINISHED[name][0])}
    return {n: body for n, body in found.items() if body is not None}


def committed_before(before: Any, name: str) -> dict[int, bytes]:
    """Return the commits that the older commit wrote, by chunk."""
    kept = before.kept(name)
    return {n: kept[key] for n in range(UNFINISHED[name][0]) if (key := f"chunks/{n}/done.json") in kept}


def finished(before: Any, name: str, folder: Path, frames: Frames) -> None:
    """Follow a job to its end; every frame is there and right, and what was committed before stays as it was."""
    before.respool("watch", before.jobs[name])
    before.respool("fetch", before.jobs[name], "-o", folder / name)
    (film,) = (folder / name).iterdir()
    source = frames(before.source(name, 0, folder / f"{name}-source.mp4"))
    assert len(source) == UNFINISHED[name][1]
    assert frames(film) == source
    assert commits(before, name).items() >= committed_before(before, name).items()


@pytest.mark.parametrize("redis", ["kept", "lost"])
def test_unfinished_jobs_are_finished(before: Any, tmp_path: Path, frames: Frames, redis: str) -> None:
    """An interrupted job goes on, a paused one once it is resumed, whether Redis kept the older ledger or lost it."""
    before.load(*UNFINISHED)
    if redis == "kept":
        before.load_redis(age_s=2 * HOUR_S)
    with before.running("orchestrator", "worker"):
        finished(before, "interrupted", tmp_path, frames)
        assert json.loads(before.respool("status", before.jobs["paused"], "--json"))["state"] == "paused"
        assert commits(before, "paused") == committed_before(before, "paused")
        before.respool("resume", before.jobs["paused"])
        finished(before, "paused", tmp_path, frames)
    chunk, attempt, worker = before.at_hand()
    at_hand = json.loads(commits(before, "interrupted")[chunk])
    held = f"attempt {attempt} on {worker}: its lease ran out"
    reasons = [reason[: len(held)] for reason in at_hand["record"]["attempts"]]
    assert (at_hand["attempt"].split("-")[0], reasons) == (("2", [held]) if redis == "kept" else ("1", []))


def test_messages_are_understood(before: Any, until: Until) -> None:
    """A worker of today's takes the older orchestrator's messages from the queue: it does their chunks and no other.

    Without an orchestrator nothing else tells it of them. The message that was at hand comes back from those that were
    not acknowledged; its chunk is leased still, which an orchestrator would end.
    """
    before.load("interrupted")
    before.load_redis(age_s=2 * HOUR_S)
    queued = [json.loads(message)["headers"]["argsrepr"] for message in before.redis.lrange("respool", 0, -1)]
    told = {int(label.split()[-1].partition("/")[0]) - 1 for label in queued}
    assert told
    with before.running("worker") as log:
        until(lambda: commits(before, "interrupted").keys() >= told, "the chunks of the messages")
        until(lambda: not before.redis.exists("respool", "unacked"), "the last message to be acknowledged")
    assert "refused" not in log()
    now, then = commits(before, "interrupted"), committed_before(before, "interrupted")
    assert now.keys() == then.keys() | told
    assert {json.loads(now[n])["attempt"].split("-")[0] for n in told} == {"1"}
    assert before.redis.hget(f"respool:{{{before.jobs['interrupted']}}}", "done") == str(len(now))


def test_older_processes_that_still_work_are_shown(before: Any) -> None:
    """Heartbeats, leases and counts of older processes are read as their own commands read them."""
    before.load(*UNFINISHED)
    before.load_redis(age_s=-HOUR_S)
    (then,) = before.printed("workers")
    (now,) = json.loads(before.respool("workers", "--json"))
    assert then.keys() <= now.keys()
    fixed = ("name", "host", "pid", "started", "job", "version")
    assert {key: now[key] for key in fixed} == {key: then[key] for key in fixed}
    for name in UNFINISHED:
        told = json.loads(before.respool("status", before.jobs[name], "--json"))
        older = before.printed(f"status-{name}")
        assert older.keys() <= told.keys()
        assert {k: told[k] for k in older if k not in ("fps", "eta_s")} == {
            k: older[k] for k in older if k not in ("fps", "eta_s")
        }
    assert told["workers"] == 1
