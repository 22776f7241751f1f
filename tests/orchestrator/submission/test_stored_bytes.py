"""The quota of stored bytes, on a real store: what counts, and what crashes, removals and others' jobs leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from contract import keys
from contract.documents import encode
from contract.errors import UsageError
from contract.job import Job, Manifest, Spec
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.jobs import retention
from orchestrator.submission import stored_bytes, upload
from orchestrator.submission.submit import submit
from stores.ledger import Ledger
from stores.open_jobs import Limits
from stores.storage import Storage

SPEC = Spec("identity")
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def ana(settings: Settings) -> Iterator[Settings]:
    """A submitter with an empty store, and no limit but that of a test."""
    for key, _ in list((storage := Storage(settings)).list("")):
        storage.delete(key)
    yield replace(settings, submitter="ana")
    Ledger(settings).set_limits(Limits())


def picture(folder: Path, seed: int) -> Path:
    """An image of noise, of about 3 kB."""
    path = folder / f"{seed}.png"
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return path


def send(settings: Settings, *sources: Path) -> Job:
    return submit(list(sources), SPEC, settings).job


def test_a_submission_beyond_the_quota_is_refused(ana: Settings, tmp_path: Path) -> None:
    """Sources and results count, up to the last byte; nothing of a refused job is stored, and others submit as before."""
    storage, ledger = Storage(ana), Ledger(ana)
    first, second = picture(tmp_path, 1), picture(tmp_path, 2)
    job = send(ana, first)
    storage.put(keys.result_file(job.id, "1.png"), b"r" * 1000)
    held = sum(size for _, size in storage.list(keys.job_prefix(job.id)))
    ledger.set_limits(Limits(stored=held + second.stat().st_size - 1))
    with pytest.raises(
        UsageError, match=r"ana has \d\.\d kB in the store, of 1 job, and these sources add 3\.\d kB, but"
    ):
        send(ana, second)
    assert list(storage.folders("jobs/")) == [job.id]
    assert send(ana, first).id == job.id, "a job that is known is never refused"
    other = send(replace(ana, submitter="ben"), picture(tmp_path, 3))
    ledger.set_limits(Limits(stored=held + second.stat().st_size))
    assert set(stored_bytes.stored("ana", Records(storage))) == {job.id}
    assert {send(ana, second).id, job.id, other.id} == set(storage.folders("jobs/"))


def test_a_submission_that_died_counts_for_what_it_left(
    ana: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of its sources are counted once, also while the same command completes it."""
    storage, ledger = Storage(ana), Ledger(ana)
    sources = [picture(tmp_path, seed) for seed in (11, 12)]
    ledger.set_limits(Limits(stored=sum(path.stat().st_size for path in sources)))
    real = upload._sent

    def dies(item: msgspec.Struct, *rest: object) -> str:
        if item.n == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return real(item, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(upload, "_sent", dies)
        with pytest.raises(KeyboardInterrupt):
            send(ana, *sources)
    held = stored_bytes.stored("ana", Records(storage))
    assert list(held.values()) == [sources[0].stat().st_size]
    assert list(held) == [send(ana, *sources).id]


def test_a_mark_without_a_job_counts_nothing_and_is_removed(ana: Settings, tmp_path: Path) -> None:
    """A crash between mark and first source, and `gc`, leave no byte that counts, and later no object."""
    storage = Storage(ana)
    stored_bytes.mark(Job("ab" * 8, SPEC, (), "", submitter="ana"), storage)
    job = send(ana, picture(tmp_path, 21))
    assert stored_bytes.stored("ana", Records(storage))["ab" * 8] == 0
    assert list(retention.unused_marks(storage, timedelta(0), TOMORROW)) == [keys.submission("ana", "ab" * 8)]
    assert list(retention.unused_marks(storage, timedelta(days=7), TOMORROW)) == []
    storage.put(keys.manifest(job.id), encode(Manifest(job.id, "done", (), finished=job.created)))
    for _ in range(2):  # the first leaves the note that the job is collected
        for sweep in list(retention.find(storage, timedelta(0), True, TOMORROW)):
            assert retention.remove(storage, sweep)
    assert set(stored_bytes.stored("ana", Records(storage)).values()) == {0}
    for key in list(retention.unused_marks(storage, timedelta(0), TOMORROW)):
        storage.delete(key)
    assert list(storage.list("")) == []


def test_a_job_of_two_submitters_is_the_firsts(ana: Settings, tmp_path: Path) -> None:
    """Another who began to submit the same files has a mark, too; no refusal is for bytes that are not that one's."""
    storage, ledger = Storage(ana), Ledger(ana)
    job, records = send(ana, picture(tmp_path, 31)), Records(storage)
    stored_bytes.mark(msgspec.structs.replace(job, submitter="ben"), storage)
    own = picture(tmp_path, 32)
    ledger.set_limits(Limits(stored=own.stat().st_size))
    made = send(replace(ana, submitter="ben"), own)
    assert records.job(made.id).submitter == "ben"
    with pytest.raises(UsageError, match="of 1 job, and"):
        send(replace(ana, submitter="ben"), picture(tmp_path, 33))
