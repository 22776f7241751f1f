"""Nothing lost, nothing doubled: a real cluster, hurt at every line that matters, gives the undisturbed result."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import psutil
import pytest
from redis import Redis

from contract import keys
from orchestrator.service.publisher import Publisher
from testkit import cluster as rigs
from testkit import cluster_faults
from testkit.cluster import Rig, rig
from testkit.faulty_s3 import Proxy
from testkit.processes import until

FRAMES = 100


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rigs.film(tmp_path_factory.mktemp("film"), FRAMES)


def check(rig: Rig, job: str, film: Path, folder: Path) -> None:
    """The job ended well, with exactly the undisturbed frames, and left nothing of dead attempts behind."""
    manifest = rig.finish(job)
    assert (manifest.state, manifest.failures) == ("done", ())
    assert rigs.differences(rigs.undisturbed(film), rig.result(job, folder)) == 0
    assert rig.strays(job) == []


@pytest.mark.parametrize("victim", ["worker", "pool process"])
def test_a_killed_worker_costs_its_chunk_and_nothing_else(victim: str, film: Path, folder: Path) -> None:
    """After `kill -9` of a worker's parent or child in mid-job: the same frames, one retry at most for each kill."""
    with rig(folder, workers=2) as r:
        job = r.submit(film)
        r.wait_done(job, 3)
        worker = r.processes("worker")[0].pid
        target = worker if victim == "worker" else until(lambda: r.pool_process(worker), "a pool process", 60).pid
        r.hurt(target, signal.SIGKILL)
        check(r, job, film, folder)
        assert r.attempts(job) <= len(r.commits(job)) + 1


def test_a_message_lost_with_an_idle_worker_goes_out_again(film: Path, folder: Path) -> None:
    """SIGSTOP an idle worker, publish, kill -9: stock Celery loses the message, here the chunk is done."""
    with rig(folder, workers=1) as r:
        until(lambda: r.ledger.workers() and r.consuming(), "an idle worker", 60)
        worker = r.processes("worker")[0].pid
        r.hurt(worker, signal.SIGSTOP)
        job = r.submit(film)
        until(lambda: r.consuming() == 0, "a taken message", 60)  # Redis gave it to the stopped worker
        r.hurt(worker, signal.SIGKILL)
        check(r, job, film, folder)


def test_a_worker_that_slept_past_its_lease_cannot_commit(film: Path, folder: Path) -> None:
    """SIGSTOP in mid-chunk past the lease, SIGCONT: somebody else's result stands, the stale attempt's object is gone."""
    with rig(folder, workers=2) as r:
        job = r.submit(film)
        r.wait_done(job, 2)
        worker = r.processes("worker")[0].pid
        child = until(lambda: r.pool_process(worker), "a pool process", 60).pid
        r.hurt(child, signal.SIGSTOP)
        manifest = r.finish(job)
        r.hurt(child, signal.SIGCONT)
        assert manifest.state == "done"
        until(lambda: r.strays(job) == [], "the stale attempt to be removed", 60)
        check(r, job, film, folder)


def test_sigterm_hands_the_chunk_back_at_once(film: Path, folder: Path) -> None:
    """SIGTERM: no failed try is counted, and the chunk is done long before its lease would have run out."""
    with rig(folder, workers=2, lease_ttl_s=60.0, lease_renew_s=10.0) as r:
        job = r.submit(film)
        for _ in range(3):
            before = r.done(job)
            r.wait_done(job, min(before + 3, FRAMES // 5))
            r.hurt(r.processes("worker")[0].pid, signal.SIGTERM)
        check(r, job, film, folder)
        assert all("lease ran out" not in str(commit.record) for commit in r.commits(job))


@pytest.mark.parametrize(
    "fault",
    [
        "after-upload",
        "after-commit",
        "before-ack",
        "in-ingest",
        "in-dispatch",
        "in-assembly",
        "before-manifest",
        "after-manifest",
    ],
)
def test_death_at_the_worst_line(fault: str, film: Path, folder: Path) -> None:
    """A worker or orchestrator dies at exactly this line, once: one result, the undisturbed one."""
    with rig(folder, workers=1, fault=fault) as r:
        job = r.submit(film)
        check(r, job, film, folder)
        assert (folder / fault).exists(), "the fault did not fire"


def test_every_message_twice(film: Path, folder: Path) -> None:
    """Each chunk is announced again by a stranger, many times: same output, and no chunk is done a second time."""
    with rig(folder, workers=2) as r:
        job = r.submit(film)
        plan = until(lambda: r.records.plan(job), "a plan", 60)
        publisher = Publisher(r.settings)
        for chunk in plan.chunks * 2:
            publisher.publish(job, chunk.n, chunk.label)
        check(r, job, film, folder)
        assert r.attempts(job) == len(plan.chunks)


def test_redis_forgets_everything(film: Path, folder: Path) -> None:
    """FLUSHALL in mid-job: it goes on, and no committed chunk is done again."""
    with rig(folder, workers=2) as r:
        job = r.submit(film)
        r.wait_done(job, 4)
        committed = r.records.settled(job)[0]
        before = {n: r.storage.get(keys.done(job, n)) for n in committed}
        with Redis.from_url(r.settings.redis_url) as raw:
            raw.flushall()
        check(r, job, film, folder)
        assert {n: r.storage.get(keys.done(job, n)) for n in committed} == before


@pytest.mark.parametrize("role", ["redis", "orchestrator", "s3"])
def test_kill_a_server(role: str, film: Path, folder: Path) -> None:
    """After `kill -9` of Redis, the orchestrator or the object store in mid-job: started again, same output."""
    with rig(folder, workers=1) as r:
        job = r.submit(film)
        r.wait_done(job, 4)
        r.hurt(r.processes(role)[0].pid, signal.SIGKILL)
        check(r, job, film, folder)


def test_two_orchestrators(film: Path, folder: Path) -> None:
    """A second orchestrator on the same job changes nothing: one plan, one manifest, each chunk once."""
    from orchestrator.service.loop import serve

    with rig(folder, workers=2) as r:
        stop = threading.Event()
        second = threading.Thread(target=serve, args=(r.settings, stop))
        second.start()
        try:
            job = r.submit(film)
            check(r, job, film, folder)
            assert r.attempts(job) == len(r.commits(job))
        finally:
            stop.set()
            second.join()


def test_an_orchestrator_that_slept_in_assembly(film: Path, folder: Path) -> None:
    """SIGSTOP before the result is stored: another one takes over; the sleeper wakes up and changes nothing."""
    fault = "asleep-in-assembly"
    with rig(folder, workers=1, fault=fault) as r:
        job = r.submit(film)
        until((folder / fault).exists, "the sleep", 120)
        sleeper = psutil.Process(r.processes("orchestrator")[0].pid)
        with rigs.through(r, r.settings.s3_endpoint, workers=0):
            manifest = r.finish(job)
            for process in (*sleeper.children(recursive=True), sleeper):
                r.hurt(process.pid, signal.SIGCONT)
            until(lambda: not r.ledger.jobs(), "the end of the job's ledger", 60)
            check(r, job, film, folder)
        assert r.records.manifest(job) == manifest
        assert sleeper.is_running()


def test_a_misbehaving_s3(folder: Path) -> None:
    """20% of requests answered 503, 10% reset, some bodies cut: it finishes with the same output."""
    film = rigs.film(folder, 40)
    with (
        rig(folder, workers=0, orchestrator=False) as servers,
        Proxy(servers.settings.s3_endpoint, seed=7, errors=0.2, resets=0.1, cuts=0.05) as proxy,
        rigs.through(servers, proxy.url, workers=1, max_attempts=20) as r,
    ):
        job = until(lambda: r.patiently(lambda: r.submit(film)), "a whole submission", 60)
        check(servers, job, film, folder)
        assert min(proxy.injected.values()) > 3


def test_a_poison_chunk_is_set_aside(film: Path, folder: Path) -> None:
    """A chunk that fails every time is given up after its attempts, with the reasons; all others are done; retry redoes it alone."""
    with rig(folder, workers=1, fault="poison-2", max_attempts=2) as r:
        job = r.submit(film)
        manifest = r.finish(job)
        assert manifest.state == "failed"
        assert "ValueError: poison" in manifest.failures[0].reason
        status = r.jobs.status(job)
        assert (status.chunks.failed, status.chunks.done) == (1, FRAMES // 5 - 1)
        assert r.jobs.retry(job) == 1


@pytest.mark.parametrize("fault", ["hang", "hang-hard"])
def test_a_hung_chunk_is_ended_and_done_again(fault: str, film: Path, folder: Path) -> None:
    """Past the soft limit the attempt fails; one that ignores it is killed at the hard limit, and its worker replaced."""
    with rig(folder, workers=1, fault=fault, chunk_soft_limit_s=2.0, chunk_hard_limit_s=4.0) as r:
        job = r.submit(film)
        check(r, job, film, folder)
        reasons = "".join(str(bytes(commit.record["attempts"])) for commit in r.commits(job))
        assert ("SoftTimeLimitExceeded" if fault == "hang" else "exceeded its time limit of 2 s") in reasons


def test_cancel_pause_resume(film: Path, folder: Path) -> None:
    """A paused job stands still and goes on where it was; a cancelled one ends; retry opens it again."""
    with rig(folder, workers=1, fault="slow-0.2") as r:
        job = r.submit(film)
        r.wait_done(job, 2)
        r.jobs.control(job, paused=True)
        until(lambda: (c := r.ledger.counts(job)) is not None and c.running == 0, "the pause", 60)
        paused = r.done(job)
        assert r.jobs.status(job).state == "paused"
        until(lambda: (c := r.ledger.counts(job)) is not None and c.waiting == 0, "the queue to empty", 60)
        assert r.done(job) == paused
        r.jobs.control(job, paused=False)
        r.wait_done(job, paused + 1)
        r.jobs.control(job, cancelled=True)
        until(lambda: r.ledger.counts(job) is None, "the end", 60)
        assert r.jobs.status(job).state == "cancelled"
        assert r.records.control(job).cancelled
        r.jobs.retry(job)
        check(r, job, film, folder)


def test_everything_killed_at_once_goes_on(film: Path, folder: Path) -> None:
    """The whole cluster is killed; a new one on the same folder finishes, and keeps what was committed."""
    with rig(folder, workers=1) as r:
        job = r.submit(film)
        r.wait_done(job, 4)
        life = r.cluster.life
        committed = r.records.settled(job)[0]
        assert life.supervisor is not None
        for process in (life.supervisor, *life.processes):
            r.hurt(process.pid, signal.SIGKILL)
    with rig(folder, workers=1) as r:
        assert r.submit(film) == job
        check(r, job, film, folder)
        assert {c.chunk for c in r.commits(job) if c.chunk in committed} == committed


def check_films(rig: Rig, job: str, films: list[Path], folder: Path) -> None:
    """The job ended well, each film with its own frames, and nothing else is left of attempts."""
    assert rig.finish(job).state == "done"
    found = rig.results(job, folder)
    assert {film.stem: rigs.differences(rigs.undisturbed(film), found[film.stem]) for film in films} == {
        film.stem: 0 for film in films
    }
    assert rig.strays(job) == []


def test_a_film_that_was_refused_for_its_memory_gets_its_own_frames(folder: Path) -> None:
    """Of two films of one size the first is refused, the limit is raised, and a retry delivers both; the worker is the same."""
    films = cluster_faults.heavy_and_light(folder, 20, 40)
    with rig(folder, workers=1, orchestrator=False) as r:
        endpoint = r.settings.s3_endpoint
        with rigs.through(r, endpoint, 0, "hungry", media_memory=cluster_faults.TOO_LITTLE):
            job = r.submit_all(films)
            assert "RESPOOL_MEDIA_MEMORY" in cluster_faults.reason_for_heavy(r, job)
            r.jobs.retry(job)
        with rigs.through(r, endpoint, 0, "hungry", media_memory=cluster_faults.ENOUGH):
            check_films(r, job, films, folder)


@pytest.mark.parametrize("with_orchestrator", [False, True])
def test_a_film_whose_readers_are_killed_fails_alone(with_orchestrator: bool, folder: Path) -> None:
    """Three kills by the kernel, and the film fails with its reason beside one that is delivered; a retry may have memory."""
    films = cluster_faults.heavy_and_light(folder, 20, 50)
    with rig(folder, workers=1, fault="killed") as r:
        job = r.submit_all(films)
        cluster_faults.kill_readers(r, folder, job, with_orchestrator)
        assert f"killed {cluster_faults.KILLS} times" in cluster_faults.reason_for_heavy(r, job)
        assert cluster_faults.reader(folder, cluster_faults.KILLS) is None
        (folder / "memory").touch()
        r.jobs.retry(job)
        check_films(r, job, films, folder)


def test_a_worker_whose_scratch_space_breaks_takes_itself_out_and_comes_back(folder: Path) -> None:
    """One of two workers cannot write: no try is counted, it says so, and works again once the folder is mended."""
    film, scratch, slow = rigs.film(folder, 300), folder / "scratch", "slow-0.3"
    scratch.mkdir()
    with (
        rig(folder, workers=1, fault=slow, max_attempts=1) as r,
        rigs.through(r, r.settings.s3_endpoint, 1, slow, orchestrator=False, scratch=scratch, max_attempts=1),
    ):
        until(lambda: len(r.ledger.workers()) == 2, "two workers", 60)
        job = r.submit(film)
        r.wait_done(job, 2)
        cluster_faults.spoil(scratch)
        (out,) = until(lambda: cluster_faults.withdrawn(r), "a worker that takes itself out", 60)
        made = cluster_faults.frames_of(r, out)
        r.wait_done(job, r.done(job) + 2)
        cluster_faults.mend(scratch)
        until(lambda: cluster_faults.frames_of(r, out) > made, "its return", 60)
        check(r, job, film, folder)


def test_seconds_of_503_cost_no_try(film: Path, folder: Path) -> None:
    """S3 refuses every request in mid-job; with one try a chunk the job waits, and ends well."""
    with (
        rig(folder, workers=0, orchestrator=False, max_attempts=1) as servers,
        Proxy(servers.settings.s3_endpoint, seed=9) as proxy,
        rigs.through(servers, proxy.url, 1, "slow-0.2", max_attempts=1),
    ):
        job = servers.submit(film)
        servers.wait_done(job, 3)
        proxy.errors = 1.0
        until(lambda: proxy.injected["errors"] >= 30, "thirty refused requests", 60)
        counts = servers.ledger.counts(job)
        proxy.errors = 0.0
        assert counts is not None
        assert (counts.retried, counts.failed) == (0, 0)
        check(servers, job, film, folder)


def test_two_orchestrators_while_a_failed_job_is_collected_and_opened_again(folder: Path) -> None:
    """Both are killed in a retry of what gc took and the same command sent again; each film has its own frames."""
    fault, films = "hungry-slow-0.1", cluster_faults.heavy_and_light(folder, 20, 60)
    with (
        rig(folder, workers=1, fault=fault, media_memory=cluster_faults.TOO_LITTLE) as r,
        cluster_faults.second_orchestrator(r, folder, fault) as kill_second,
    ):
        job = r.submit_all(films)
        assert "RESPOOL_MEDIA_MEMORY" in cluster_faults.reason_for_heavy(r, job)
        until(lambda: r.ledger.counts(job) is None, "the job to be closed", 60)
        assert cluster_faults.collect(r) == 1
        (folder / "memory").touch()
        assert r.submit_all(films) == job
        r.jobs.retry(job)
        r.hurt(r.processes("orchestrator")[0].pid, signal.SIGKILL)
        kill_second()
        check_films(r, job, films, folder)
