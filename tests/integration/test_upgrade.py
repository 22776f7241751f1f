"""Two versions of Respool side by side on one job: real processes, one of them with the contract raised by one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from redis import Redis

from contract import keys, tasks
from contract.documents import decode, encode, raw
from contract.errors import Newer, UsageError
from contract.job import Control, Done, Plan
from contract.programs import Program, command_line
from orchestrator.service.publisher import Publisher
from testkit import cluster as rigs
from testkit.clips import fingerprint
from testkit.cluster import FAULTS, Rig, rig
from testkit.processes import until
from workers.runtime.heartbeat import SHUTDOWN

CHUNKS = 10
_PATIENCE_S = 300.0
"""Only ever waited out by a failure; ten Python processes on two busy cores take their time."""
_COMMANDS = {"orchestrator": command_line(Program.COMMAND_LINE, "orchestrator"), "worker": command_line(Program.WORKER)}
Version = Literal["this", "next"]


class Member:
    """One process of the cluster, of one version, with a log of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """Tell it to end, as a rolling update does, and wait until it has."""
        if self.process.poll() is None:
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.wait()


Join = Callable[..., Member]


@contextmanager
def joining(servers: Rig, folder: Path) -> Iterator[Join]:
    """Starts processes beside the servers; `slow` seconds are added to each film chunk."""
    with ExitStack() as stack:
        begun = 0

        def join(role: str, version: Version, slow: float = 0) -> Member:
            nonlocal begun
            begun += 1
            fault = f"{'next' if version == 'next' else 'slow'}-{slow}"
            path = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH", ""))))
            extra = {"PYTHONPATH": path, "RESPOOL_FAULT": f"{fault}:{folder}"}
            log = folder / f"{begun}-{version}-{role}.log"
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    _COMMANDS[role],
                    env={**os.environ, **servers.settings.environment(), **extra},
                    stdout=stream,
                    stderr=stream,
                )
            member = Member(process, log)
            stack.callback(member.end)
            return member

        try:
            yield join
        except BaseException:
            for log in sorted(folder.glob("*.log")):  # pytest shows it when a test failed
                print(f"== {log.name}", log.read_text(errors="replace")[-3000:], sep="\n")
            raise


@pytest.fixture
def servers(folder: Path) -> Iterator[Rig]:
    """Redis and S3, and nobody who uses them."""
    with rig(folder, workers=0, orchestrator=False, device="cpu") as r:
        yield r


def document(r: Rig, key: str) -> dict[str, Any] | None:
    """A document of whatever version; None while it is not there."""
    found = r.storage.find(key)
    made: dict[str, Any] | None = None if found is None else json.loads(found)
    return made


def commits(r: Rig, job: str) -> list[dict[str, Any]]:
    found = [document(r, keys.done(job, n)) for n in range(CHUNKS)]
    return [commit for commit in found if commit is not None]


def finished(r: Rig, job: str, film: Path, folder: Path) -> None:
    """The job ended well: every frame is there and right, and no chunk was set aside."""
    manifest = until(lambda: document(r, keys.manifest(job)), f"the end of job {job}", _PATIENCE_S)
    assert (manifest["state"], manifest["failures"]) == ("done", [])
    (file,) = manifest["files"]
    out = folder / f"{job}.mkv"
    assert r.storage.get_file(file["key"], out) == file["sha256"]
    assert rigs.differences(rigs.undisturbed(film), fingerprint(out)) == 0
    assert r.records.settled(job) == (set(range(CHUNKS)), set())


def test_a_rolling_upgrade_in_mid_job(servers: Rig, folder: Path) -> None:
    """Orchestrator first, then workers, one job running: both versions commit chunks of it, no try fails, every frame is right."""
    film = rigs.film(folder, 5 * CHUNKS)
    with joining(servers, folder) as join:
        orchestrator, worker = join("orchestrator", "this"), join("worker", "this", slow=3)
        job = servers.submit(film)
        servers.wait_done(job, 1, _PATIENCE_S)
        join("orchestrator", "next")
        orchestrator.end()
        servers.wait_done(job, servers.done(job) + 1, _PATIENCE_S)  # the old worker goes on under the new orchestrator
        assert document(servers, keys.manifest(job)) is None
        join("worker", "next")
        until(
            lambda: {c["version"] for c in commits(servers, job)} == {2, 3}, "a commit of the new worker", _PATIENCE_S
        )
        worker.end()  # hands its chunk back
        finished(servers, job, film, folder)
        made = {commit["version"] for commit in commits(servers, job)}
        reasons = [str(commit["record"]["attempts"]) for commit in commits(servers, job)]
        assert made == {2, 3}
        assert not [reason for reason in reasons if reason != "[]" and SHUTDOWN not in reason]


def test_work_for_newer_workers_is_left_to_them(servers: Rig, folder: Path) -> None:
    """A plan of the next version: old workers and orchestrators leave it untouched, do their own jobs, and new ones do it.

    Old workers get messages about it by mistake: they report one sentence, claim nothing and count nothing.
    """
    film, other = rigs.film(folder, 5 * CHUNKS), rigs.film(folder, 5 * CHUNKS + 5)
    with joining(servers, folder) as join:
        ahead = join("orchestrator", "next")
        job = servers.submit(film)
        plan = until(lambda: document(servers, keys.plan(job)), "a plan", _PATIENCE_S)
        assert (plan["version"], plan["chunks"][0]["reels"]) == (3, 0)
        until(lambda: (c := servers.ledger.counts(job)) and c.waiting, "the first announcements", _PATIENCE_S)
        ahead.end()
        for chunk in range(3):
            Publisher(servers.settings).publish(job, chunk, "by mistake")
        beside, worker = join("orchestrator", "this"), join("worker", "this")
        own = servers.submit(other)
        assert servers.finish(own, _PATIENCE_S).state == "done"
        until(
            lambda: job in beside.log and worker.log.count("newer version of Respool") >= 3, "the refusals", _PATIENCE_S
        )
        assert (beside.process.poll(), worker.process.poll()) == (None, None)
        with Redis.from_url(servers.settings.redis_url) as raw:
            assert not raw.hlen(f"respool:{{{job}}}:attempts")
            assert not raw.hlen(f"respool:{{{job}}}:tries")
        assert document(servers, keys.manifest(job)) is None
        join("orchestrator", "next")
        join("worker", "next")
        finished(servers, job, film, folder)
        assert {(c["version"], c["attempt"].split("-")[0]) for c in commits(servers, job)} == {(3, "1")}
        assert {c["version"] for c in commits(servers, own)} == {2}


def test_commits_of_a_newer_worker_wait_for_a_newer_orchestrator(servers: Rig, folder: Path) -> None:
    """The wrong order, workers first: nothing fails; the job waits, unassembled, until an orchestrator can read it."""
    film = rigs.film(folder, 5 * CHUNKS)
    with joining(servers, folder) as join:
        old = join("orchestrator", "this")
        join("worker", "next")
        job = servers.submit(film)
        until(lambda: "newer version of Respool" in old.log, "the old orchestrator's word", _PATIENCE_S)
        assert len(commits(servers, job)) == CHUNKS
        assert document(servers, keys.manifest(job)) is None
        assert old.process.poll() is None
        join("orchestrator", "next")
        finished(servers, job, film, folder)


def test_what_a_newer_version_wrote_is_told_from_what_nobody_wrote() -> None:
    """A later version, or a field that this one lacks, is Newer; anything else that is not ours is a UsageError."""
    plan = json.loads(encode(Plan("0" * 16, ())))
    for change in ({"version": 3}, {"version": 3, "chunks": "elsewhere"}, {"reels": 1}):
        with pytest.raises(Newer, match=r"plan.json was written by a newer version.*finish the upgrade"):
            decode(json.dumps(plan | change).encode(), Plan, "plan.json")
    with pytest.raises(Newer):
        decode(b'{"hold": true}', Control, "control.json")
    for wrong in (b"{", b"[]", json.dumps(plan | {"version": 0}).encode(), json.dumps(plan | {"job": "../"}).encode()):
        with pytest.raises(UsageError, match="not a Plan"):
            decode(wrong, Plan, "plan.json")
    done = Done(0, "1-ab", "w", 5, (), record={"invented later": raw({"a": 1})})
    assert decode(encode(done), Done, "done.json") == done  # a record may hold what it likes
    with pytest.raises(Newer, match="version 3"):
        tasks.from_message({"job": "0" * 16, "chunk": 0, "version": 3, "more": 1})
    assert (tasks.queue(1), tasks.queue(2)) == ("respool", "respool.2")
