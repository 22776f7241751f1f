"""The witness of results in real jobs: real Redis, S3 and workers' code, with faults planted in the joining of chunks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract import keys
from contract.documents import decode
from contract.job import Manifest, Spec
from orchestrator.assemble import job as assembly
from orchestrator.result_record import Record, from_lines
from orchestrator.witness import source_reading
from orchestrator.witness.source_reading import SourceReading
from testkit.clips import make_film
from testkit.materials.malformed import FAULTS, malformed
from testkit.stepped import SPEC, Stepped

_SEEDS = itertools.count(8100)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.mp4", 40, seed=next(_SEEDS))


def ended(cluster: Stepped, film: Path, spec: Spec = SPEC) -> tuple[Manifest, list[Record]]:
    job = cluster.submit([film], spec)
    return cluster.finish(job), from_lines(cluster.storage.get(keys.records(job)))


def plant(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let assembly write a result with the fault of that name, after all of its own checks."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    plain = assembly.verify_film

    def spoilt(out: Path, *rest: object) -> None:
        plain(out, *rest)  # type: ignore[arg-type]
        out.write_bytes(malformed(out.read_bytes(), "matroska", fault))

    monkeypatch.setattr(assembly, "verify_film", spoilt)


def test_a_sound_result_is_on_record_with_its_streams(cluster: Stepped, film: Path) -> None:
    """The record tells what was decoded of the result."""
    manifest, (record,) = ended(cluster, film)
    assert manifest.state == "done"
    result = record.details["witness"]["result"]
    assert (result["outcome"], result["decoded"]) == ("sound", "all")
    assert [(s["kind"], s["codec"], s["frames"]) for s in result["streams"][:1]] == [("video", "ffv1", 40)]


@pytest.mark.parametrize(
    "name", ["a phantom stream", "the last frame missing", "a broken picture", "pictures a frame late"]
)
def test_a_malformed_result_is_not_delivered(
    name: str, cluster: Stepped, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The film fails, in one sentence, and nothing of it is in the results."""
    plant(monkeypatch, name)
    manifest, records = ended(cluster, film)
    assert manifest.state == "failed"
    assert not manifest.files
    assert not records
    (failure,) = manifest.failures
    assert failure.reason.startswith("the result is not delivered: ")
    assert "\n" not in failure.reason


def test_a_sample_counts_all_packets_and_says_so(cluster: Stepped, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--witness sample` the record names the choice, and a missing frame is found all the same."""
    plant(monkeypatch, "the last frame missing")
    manifest, _ = ended(cluster, film, msgspec.structs.replace(SPEC, witness="sample"))
    assert manifest.state == "failed"


def test_without_a_witness_the_result_is_delivered_as_it_is(
    cluster: Stepped, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--witness off` nothing reads the result back, and the record says off."""
    plant(monkeypatch, "a phantom stream")
    manifest, (record,) = ended(cluster, film, msgspec.structs.replace(SPEC, witness="off"))
    assert manifest.state == "done"
    assert record.details["witness"] == {"choice": "off"}


def test_a_reading_of_an_older_version_is_made_again(
    cluster: Stepped, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that began before an upgrade has a reading without times in the store: it counts as none."""
    made = source_reading.read_source

    def without_times(*given: Any, **options: Any) -> SourceReading:
        monkeypatch.setattr(source_reading, "read_source", made)
        return msgspec.structs.replace(made(*given, **options), times=b"", base=(0, 1))

    monkeypatch.setattr(source_reading, "read_source", without_times)
    job = cluster.submit([film], SPEC)
    assert cluster.finish(job).state == "done"
    ((number, sha256),) = cluster.records.plan(job).indexes  # type: ignore[union-attr]
    key = keys.witness(job, number, sha256)
    assert decode(cluster.storage.get(key), SourceReading, key).complete
    assert source_reading.read_source is made, "the first reading was the old one"
