"""The S3 policies in deploy/s3, on a real server: each role can do its work and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import keys
from contract.errors import StorageError, Unreachable
from contract.settings import Settings
from stores.storage import Storage
from testkit.role_store import BUCKET, ROLES, role_store

JOB = "00000000000000a1"
ATTEMPT = keys.attempt(JOB, 0, "1-00000000")
MARK = keys.submission("ana", JOB)
WEIGHTS = keys.weights("0" * 64)
RUN = "00000000000000b2"
CHECKPOINT = keys.checkpoint(RUN, 0, "00000000", "state")


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, Storage]]:
    """The bucket as each role sees it, with a whole job in it."""
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as name,
        role_store(Path(name)) as roles,
    ):
        yield {role: Storage(settings) for role, settings in roles.items()}


def test_each_role_can_do_its_work(stores: dict[str, Storage], tmp_path: Path) -> None:
    """A job from submission to removal, each step by the role that takes it in production, large uploads included."""
    orchestrator, worker, submitter = (stores[role] for role in ROLES[:3])
    for store in stores.values():
        store.ensure_bucket()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(17 << 20))  # more than one part
    submitter.put(WEIGHTS, b"weights")
    submitter.put(MARK, b"ana")
    submitter.put_file(keys.source(JOB, 0), source)
    assert submitter.put(keys.job_spec(JOB), b"{}", if_absent=True)
    submitter.put(keys.control(JOB), b"{}")

    assert list(orchestrator.folders("jobs/")) == [JOB]
    assert orchestrator.get(keys.job_spec(JOB)) == b"{}"
    orchestrator.put_file(keys.chunk_input(JOB, 0), source)
    assert orchestrator.put(keys.plan(JOB), b"{}", if_absent=True)

    assert worker.get(keys.plan(JOB)) == b"{}"
    worker.get_file(WEIGHTS, tmp_path / "weights")
    worker.verify(keys.chunk_input(JOB, 0), worker.put_file(ATTEMPT, source))
    assert worker.put(keys.done(JOB, 0), b"{}", if_absent=True)
    assert not worker.put(keys.done(JOB, 0), b"other", if_absent=True)
    assert [key for key, _ in worker.list(ATTEMPT)] == [ATTEMPT]
    worker.delete(ATTEMPT)

    orchestrator.put(keys.result_file(JOB, "film.mp4"), b"film")
    assert orchestrator.put(keys.manifest(JOB), b"{}", if_absent=True)
    submitter.get_file(keys.result_file(JOB, "film.mp4"), tmp_path / "film.mp4")
    submitter.delete(keys.manifest(JOB))
    stores["operator"].delete(MARK)


def test_a_trainer_can_train(stores: dict[str, Storage], tmp_path: Path) -> None:
    """A run from its plan to its record, by the trainer; a submitter stops it, reads it, and uses its weights."""
    trainer, submitter = stores["trainer"], stores["submitter"]
    trainer.ensure_bucket()
    trainer.put(WEIGHTS, b"weights")
    assert trainer.put(keys.train_document(RUN, "run.json"), b"{}", if_absent=True)
    trainer.put(CHECKPOINT, b"state")
    assert trainer.put(keys.commit(RUN, 0), b"{}", if_absent=True)
    assert not trainer.put(keys.commit(RUN, 0), b"other", if_absent=True)
    assert [key for key, _ in trainer.list(keys.commits_prefix(RUN))] == [keys.commit(RUN, 0)]
    submitter.put(keys.train_document(RUN, "control.json"), b"{}")
    assert trainer.get(keys.train_document(RUN, "control.json")) == b"{}"
    trainer.delete(CHECKPOINT)
    trainer.put(keys.train_document(RUN, "record.json"), b"{}")
    assert list(submitter.folders("train/")) == [RUN]
    assert submitter.get(keys.train_document(RUN, "record.json")) == b"{}"
    submitter.get_file(WEIGHTS, tmp_path / "weights")


@pytest.mark.parametrize(
    ("role", "key"),
    [
        ("trainer", keys.job_spec(JOB)),
        ("trainer", keys.done(JOB, 1)),
        ("trainer", keys.result_file(JOB, "film.mp4")),
        ("trainer", "material/clean.png"),
        ("worker", keys.commit(RUN, 1)),
        ("orchestrator", keys.commit(RUN, 1)),
        ("submitter", keys.train_document(RUN, "record.json")),
        ("submitter", CHECKPOINT),
        ("worker", keys.job_spec(JOB)),
        ("worker", keys.plan(JOB)),
        ("worker", keys.control(JOB)),
        ("worker", keys.source(JOB, 0)),
        ("worker", keys.manifest(JOB)),
        ("worker", keys.result_file(JOB, "film.mp4")),
        ("worker", WEIGHTS),
        ("worker", MARK),
        ("orchestrator", MARK),
        ("worker", "elsewhere"),
        ("orchestrator", WEIGHTS),
        ("orchestrator", "elsewhere"),
        ("operator", keys.job_spec(JOB)),
        ("operator", keys.plan(JOB)),
        ("operator", keys.source(JOB, 0)),
        ("operator", keys.done(JOB, 1)),
        ("operator", keys.result_file(JOB, "film.mp4")),
        ("operator", WEIGHTS),
        ("operator", "elsewhere"),
        ("submitter", keys.plan(JOB)),
        ("submitter", keys.records(JOB)),
        ("submitter", keys.done(JOB, 1)),
        ("submitter", keys.attempt(JOB, 1, "1-00000000")),
        ("submitter", keys.chunk_input(JOB, 1)),
        ("submitter", keys.manifest(JOB)),
        ("submitter", "elsewhere"),
    ],
)
def test_no_role_can_write_where_another_does(stores: dict[str, Storage], role: str, key: str) -> None:
    """A stolen key of one role changes nothing that another role is trusted for."""
    with pytest.raises((Unreachable, StorageError), match=r"refused|AccessDenied"):
        stores[role].put(key, b"forged")


@pytest.mark.parametrize(
    ("role", "key"),
    [
        ("worker", keys.done(JOB, 0)),
        ("worker", keys.chunk_input(JOB, 0)),
        ("worker", keys.source(JOB, 0)),
        ("submitter", keys.source(JOB, 0)),
        ("submitter", keys.plan(JOB)),
        ("submitter", keys.job_spec(JOB)),
        ("submitter", keys.result_file(JOB, "film.mp4")),
        ("submitter", WEIGHTS),
        ("submitter", MARK),
        ("worker", MARK),
        ("orchestrator", WEIGHTS),
        ("operator", WEIGHTS),
        ("trainer", WEIGHTS),
        ("trainer", keys.commit(RUN, 0)),
        ("trainer", keys.done(JOB, 0)),
        ("submitter", keys.commit(RUN, 0)),
    ],
)
def test_no_role_can_remove_what_it_need_not(stores: dict[str, Storage], role: str, key: str) -> None:
    """No role's stolen key can remove sources, commits or weights."""
    with pytest.raises((Unreachable, StorageError), match=r"refused|AccessDenied"):
        stores[role].delete(key)


def test_a_stranger_sees_nothing(stores: dict[str, Storage]) -> None:
    """Wrong keys are refused with a sentence that names the settings, and no key."""
    settings = Settings(
        s3_endpoint=stores["worker"].endpoint, s3_bucket=BUCKET, s3_access_key="worker-access", s3_secret_key="guess"
    )
    with pytest.raises(Unreachable, match="RESPOOL_S3_SECRET_KEY") as refused:
        Storage(settings).ensure_bucket()
    assert "guess" not in str(refused.value)
