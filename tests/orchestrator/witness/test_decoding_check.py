"""The witness of decoding in real jobs: real Redis, S3 and workers' code, with faults planted in the decoder of chunks."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from contract import keys
from contract.job import Manifest, Spec
from orchestrator.result_record import from_lines
from testkit.clips import make_film
from testkit.stepped import SPEC, Stepped
from workers.film.decode import RunDecoder

_SEEDS = itertools.count(7000)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.mp4", 20, seed=next(_SEEDS))


def ended(cluster: Stepped, film: Path, spec: Spec = SPEC) -> tuple[str, Manifest]:
    job = cluster.submit([film], spec)
    return job, cluster.finish(job)


def plant_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every chunk deliver its first two frames in each other's place."""
    plain = RunDecoder.__iter__

    def swapped(self: RunDecoder):  # type: ignore[no-untyped-def]
        first = self.header.first
        frames = dict(plain(self))
        frames[first], frames[first + 1] = frames[first + 1], frames[first]
        yield from sorted(frames.items(), key=lambda item: item[0])

    monkeypatch.setattr(RunDecoder, "__iter__", swapped)


def test_a_sound_film_is_witnessed_and_the_record_says_so(cluster: Stepped, film: Path) -> None:
    """Every frame agrees; the reading is an object of the job, and the result's record names what was checked."""
    job, manifest = ended(cluster, film)
    assert manifest.state == "done"
    assert not manifest.notes
    sha256 = dict(cluster.records.plan(job).indexes)[0]  # type: ignore[union-attr]
    assert cluster.storage.exists(keys.witness(job, 0, sha256))
    (record,) = from_lines(cluster.storage.get(keys.records(job)))
    witness = record.details["witness"]
    assert (witness["choice"], witness["frames"], witness["outcome"]) == ("full", 20, "the same frames")


def test_frames_in_the_wrong_order_fail_the_film(cluster: Stepped, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames of a chunk exchanged: the film is not delivered, and the sentence names the frames and both readings."""
    plant_swap(monkeypatch)
    _, manifest = ended(cluster, film)
    assert manifest.state == "failed"
    assert not manifest.files
    (failure,) = manifest.failures
    assert "frames 0 to 1 (and 3 other places) are not what a plain decode" in failure.reason
    assert failure.reason.count("CRC-32") == 2


def test_without_a_witness_the_record_says_off(cluster: Stepped, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same fault with `--witness off` is delivered, and the record tells that nobody looked."""
    plant_swap(monkeypatch)
    job, manifest = ended(cluster, film, msgspec.structs.replace(SPEC, witness="off"))
    assert manifest.state == "done"
    (record,) = from_lines(cluster.storage.get(keys.records(job)))
    assert record.details["witness"] == {"choice": "off"}


def test_a_witness_that_died_is_repeated(cluster: Stepped, film: Path) -> None:
    """The reading lost before assembly: it is made again, and the job ends as if nothing had happened."""
    job = cluster.submit([film])
    while cluster.records.plan(job) is None or cluster.ledger.counts(job) is None:
        cluster.look()
    cluster.work(job)
    cluster.look()
    key = keys.witness(job, 0, dict(cluster.records.plan(job).indexes)[0])  # type: ignore[union-attr]
    cluster.storage.delete(key)
    assert cluster.finish(job).state == "done"
    assert cluster.storage.exists(key)
