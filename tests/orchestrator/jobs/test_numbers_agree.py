"""The same numbers in five places: status, metrics, Flower's results of tasks, manifest with its records, and report."""

from __future__ import annotations

from pathlib import Path

from contract.job import Manifest
from orchestrator.cli.display import describe
from orchestrator.jobs.job_record import Trail
from orchestrator.service.metrics import ClusterCollector
from testkit.clips import make_film
from testkit.stepped import Stepped


def scraped(collector: ClusterCollector) -> dict[tuple[str, ...], float]:
    """Return the values of the metrics, by name and labels."""
    return {(s.name, *s.labels.values()): s.value for family in collector.collect() for s in family.samples}


def test_status_metrics_flower_manifest_and_report_agree(cluster: Stepped, tmp_path: Path) -> None:
    """Two films of 15 and 10 frames in five chunks; one attempt fails, another is handed back, and all say so."""
    collector = ClusterCollector(cluster.settings, cluster.ledger)
    scraped(collector)
    job = cluster.submit([make_film(tmp_path / f"{n}.mkv", n, seed=4400 + n) for n in (15, 10)])
    while len(cluster.announced(job)) < 2:
        cluster.look()
    for chunk, reason, counted in zip(
        cluster.announced(job), ("EnhanceError: NaN", "told to end"), (True, False), strict=False
    ):
        _, lease = cluster.ledger.claim(job, chunk, "w")
        assert lease is not None
        cluster.ledger.release(lease, reason, counted)
    flower: list[str] = []
    manifest: Manifest | None = None
    seen = set()
    while manifest is None:
        cluster.look()
        status, shown = cluster.jobs.status(job), scraped(collector)
        if ("respool_job_frames", job) in shown:
            seen.add(status.frames.done)
            assert (status.frames.total, status.frames.done) == (
                shown["respool_job_frames", job],
                shown["respool_job_frames_done", job],
            )
            assert (status.retried, status.handed_back) == (1, 1)
            assert shown["respool_retries_total", "attempt_failed"] == status.retried
            assert shown["respool_retries_total", "handed_back"] == status.handed_back
            assert shown["respool_leases",] == status.chunks.running
            assert shown["respool_backlog_chunks",] == status.chunks.total - status.chunks.done - status.chunks.failed
            assert status.chunks.done == flower.count("done")
            assert "1 retried" in describe(status)
        flower += cluster.work(job)
        manifest = cluster.records.manifest(job)
    assert len(seen) > 2, "in mid-job, too"
    status, records = cluster.jobs.status(job), Trail(cluster.settings).records(job)
    made = [chunk for record in records for chunk in record.chunks]
    assert status.state == manifest.state == "done"
    assert (status.frames.total, status.frames.done) == (25, 25)
    assert status.chunks.total == status.chunks.done == len(made) == flower.count("done") == 5
    assert status.items == len(manifest.files) == len(records) == 2
    assert (sum(bool(c.failed_before) for c in made), sum(bool(c.handed_back) for c in made)) == (1, 1)
    report = Trail(cluster.settings).report(job, 0).decode()
    assert (
        "2 of 2 items, 5 chunks on 1 worker, 1 after another attempt had failed, 1 after one had been handed back"
        in report
    )
