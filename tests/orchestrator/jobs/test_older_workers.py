"""A job that all live workers are too old for, or unable to compute, says so in its status."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from contract import keys
from contract.documents import VERSION
from contract.job import Job, Plan, Spec
from orchestrator.jobs.status import blocked
from testkit.clips import make_film
from testkit.stepped import Stepped

JOB = Job("ab" * 8, Spec("identity"), (), "", submitter="ana")
PLAN = Plan(JOB.id, ())
NEW: dict[str, object] = {"reads": VERSION, "declines": {}, "newer": {}}
NEWER = "plans/plan.json was written by a newer version of Respool; finish the upgrade."


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ({"reads": VERSION - 1}, f"its plan is of version {VERSION}, and they read {VERSION - 1}"),
        ({"declines": {}}, "its job.json names a submitter"),
        (NEW | {"newer": {JOB.id: NEWER}}, NEWER.rstrip(".")),
    ],
)
def test_workers_that_are_all_too_old_are_named(worker: dict[str, object], said: str) -> None:
    """The reason and what to do; with one worker that reads it, the job waits for that one."""
    sentence = f"no worker can go on with it: all are of an older version of Respool ({said}); upgrade one, or start a newer one."
    assert blocked(JOB, PLAN, {"a": worker, "b": worker}) == sentence
    assert blocked(JOB, PLAN, {"a": worker, "b": NEW}) == ""
    assert blocked(JOB, PLAN, {}) == ""


def test_one_that_could_read_it_but_not_compute_it_decides_what_to_do() -> None:
    """Beside old workers, the reason of the one that is new enough is the one to mend."""
    unable = NEW | {"declines": {JOB.id: "the job was begun in bf16."}}
    assert "begun in bf16. Start a worker that can" in blocked(JOB, PLAN, {"a": {"reads": 1}, "b": unable})


def test_jobs_of_versions_before_block_nobody() -> None:
    """A worker of the version before reads jobs without a submitter, and plans that are not there yet hold up none."""
    assert blocked(msgspec.structs.replace(JOB, submitter=""), PLAN, {"a": {"declines": {}}}) == ""
    assert blocked(JOB, None, {"a": {"reads": 1}}) == ""


def test_a_worker_tells_which_jobs_are_too_new_for_it(cluster: Stepped, tmp_path: Path) -> None:
    """The reason that it logs is in its heartbeat, and so in the status of the job."""
    job = cluster.submit([make_film(tmp_path / "film.mp4", 5, seed=77)])
    while not cluster.announced(job):
        cluster.look()
    known = cluster.jobs.job(job)
    key = keys.job_spec(job)
    own = cluster.storage.get(key)
    cluster.storage.put(key, json.dumps(json.loads(own) | {"reels": 1}).encode())
    assert cluster.work(job) == ["newer"]
    cluster.storage.put(key, own)
    cluster.ledger.announce_worker(
        cluster.worker.name, msgspec.json.decode(msgspec.json.encode(cluster.worker._info()))
    )
    said = cluster.jobs.status(known.id).blocked
    assert "all are of an older version of Respool (" in said
    assert "job.json was written by a newer version" in said
