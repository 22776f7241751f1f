"""Jobs that commit 14e2eb9 finished: their documents, results and records, read by today's commands."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ENDED = {"film": 0, "images": 0, "sequence": 0, "damaged": 0, "failed": 1}
"""Jobs and the exit code that each ended with."""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def covers(now: Any, then: Any) -> bool:
    """Report whether every field of `then` is in `now` with the same value; fields may have been added."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and covers(now[key], then[key]) for key in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(covers, now, then))
    return bool(now == then)


def fields(value: Any) -> Any:
    """Keep the names of a JSON value's fields, and the first entry of each list."""
    if isinstance(value, dict):
        return {name: fields(entry) for name, entry in value.items()}
    return [fields(value[0])] if isinstance(value, list) and value else None


def test_status_tells_the_same(before: Any) -> None:
    """`status --json` gives every field of every ended job as the older commit gave it, newest job first."""
    before.load(*ENDED)
    shown = json.loads(before.respool("status", "--json"))
    assert [job["id"] for job in shown] == [before.jobs[name] for name in reversed(ENDED)]
    for name, job in zip(reversed(ENDED), shown, strict=True):
        then = {key: value for key, value in before.printed(f"status-{name}").items() if key != "workers"}
        assert covers(job, then), name
        assert job["workers"] == 0


@pytest.mark.parametrize(("name", "code"), ENDED.items())
def test_fetch_gives_the_same_bytes(before: Any, tmp_path: Path, name: str, code: int) -> None:
    """`fetch` writes the files that the older commit delivered, failures.csv included."""
    before.load(name)
    before.respool("fetch", before.jobs[name], "-o", tmp_path / "out", code=code)
    assert tree(tmp_path / "out") == tree(before.delivered / name) != {}


def test_results_without_records(before: Any, tmp_path: Path) -> None:
    """Pictures of the older commit are verified by what they carry, its bag by its manifests; one other bit is found."""
    pictures = json.loads(before.respool("verify", before.delivered / "images", "--json"))
    assert [(finding["verified"], finding["made"]) for finding in pictures] == [
        (True, finding["made"]) for finding in before.printed("verify")
    ]
    assert {finding["by"] for finding in pictures} == {"its picture's SHA-256, as the file itself says"}
    assert "verified by" in before.respool("verify", before.bag)
    bag = shutil.copytree(before.bag, tmp_path / "bag")
    film = bag / "data" / "film.mp4"
    film.write_bytes(film.read_bytes()[:-1] + b"\x7f")
    assert "NOT VERIFIED" in before.respool("verify", bag, code=1)


@pytest.mark.parametrize("name", [name for name in ENDED if name != "failed"])
def test_results_against_their_records(before: Any, tmp_path: Path, name: str) -> None:
    """Each result of the older commit is verified by its record in the store; one other bit is found."""
    before.load(name)
    found = json.loads(before.respool("verify", before.delivered / name, "--json"))
    assert len(found) == len(tree(before.delivered / name))
    assert {(finding["verified"], finding["by"]) for finding in found} == {(True, "its record's SHA-256")}
    if name == "images":
        # A duplicate names the first source of its bytes, so paths are compared by the file's own name.
        then = [{**finding, "path": Path(finding["path"]).name} for finding in before.printed("verify")]
        assert covers([{**finding, "path": Path(finding["path"]).name} for finding in found], then)
    changed = shutil.copytree(before.delivered / name, tmp_path / "changed")
    last = max(path for path in changed.rglob("*") if path.is_file())
    last.write_bytes(last.read_bytes() + b"\0")
    assert "NOT VERIFIED" in before.respool("verify", changed, code=1)


def test_a_new_bag_of_an_old_job(before: Any, tmp_path: Path) -> None:
    """`fetch --bag` carries the older commit's records on, with the same film, and the bag is verified."""
    before.load("film")
    before.respool("fetch", before.jobs["film"], "-o", tmp_path / "bag", "--bag")
    assert "verified by" in before.respool("verify", tmp_path / "bag")
    then, now = tree(before.bag), tree(tmp_path / "bag")
    assert now.keys() == then.keys()
    assert now["data/film.mp4"] == then["data/film.mp4"]
    assert covers(json.loads(now["respool-records.jsonl"]), json.loads(then["respool-records.jsonl"]))


@pytest.mark.parametrize("name", ENDED)
def test_report_of_an_old_job(before: Any, tmp_path: Path, name: str) -> None:
    """`report` shows each result's hash, the worker, and what was damaged, failed or noted."""
    before.load(name)
    before.respool("report", before.jobs[name], "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    manifest = json.loads(before.kept(name)["results/manifest.json"])
    reasons = [entry["reason"] for entry in (*manifest["damage"], *manifest["failures"])]
    assert manifest["files"]
    shown = ["archive-", *(file["sha256"] for file in manifest["files"]), *map(html.escape, reasons)]
    assert [text for text in shown if text not in page] == []


@pytest.mark.parametrize("name", ["film", "images", "failed"])
def test_the_same_submission_is_the_same_job(before: Any, tmp_path: Path, name: str) -> None:
    """The id follows from sources and options as before, pinned weights included, so that old work is found again."""
    for item in json.loads(before.kept(name)["job.json"])["items"]:
        before.source(name, item["n"], tmp_path / "sources" / item["name"])
    sources = tmp_path / "sources" / ("film.mp4" if name == "film" else "")
    assert before.respool("submit", sources, *before.options(name)).strip() == before.jobs[name]


def test_the_same_command_makes_nothing_again(before: Any, tmp_path: Path, respool: Any) -> None:
    """`run` on the sources and the results of an old job ends at once, without a worker, and leaves the results alone."""
    before.load("images")
    for item in json.loads(before.kept("images")["job.json"])["items"]:
        before.source("images", item["n"], tmp_path / "photos" / item["name"])
    out = shutil.copytree(before.delivered / "images", tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = respool("run", tmp_path / "photos", "-o", out, *before.options("images"), env=before.environment)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps


def test_probe_and_models_have_their_fields(before: Any, tmp_path: Path) -> None:
    """`probe --json` tells of a source what it told; `models list --json` has every field that it had."""
    film = before.source("film", 0, tmp_path / "film.mp4")
    assert covers(json.loads(before.respool("probe", film, "--json", *before.options("film"))), before.printed("probe"))
    models = json.loads(before.respool("models", "list", "--json"))
    assert covers(fields(models), fields(before.printed("models")))


Frames = Callable[[Path], list[tuple[float, str]]]


def test_a_lost_result_is_made_again(before: Any, tmp_path: Path, frames: Frames) -> None:
    """`retry` opens an old job whose result is gone from the store; today's processes make it again of the old chunks."""
    before.load("film")
    assert "nothing to retry" in before.respool("retry", before.jobs["film"], code=2)
    before.delete("film", "results/files/film.mp4")
    before.respool("retry", before.jobs["film"])
    with before.running("orchestrator", "worker"):
        before.respool("watch", before.jobs["film"])
    before.respool("fetch", before.jobs["film"], "-o", tmp_path / "out")
    assert frames(tmp_path / "out" / "film.mp4") == frames(before.delivered / "film" / "film.mp4")


def test_what_failed_is_tried_again(before: Any, tmp_path: Path, frames: Frames) -> None:
    """`retry` of an old failed job does the chunk that was set aside, and the torn picture, which fails again; no other."""
    before.load("failed")
    before.respool("retry", before.jobs["failed"])
    with before.running("orchestrator", "worker"):
        assert "torn.png" in before.respool("watch", before.jobs["failed"], code=1)
    manifest = json.loads(before.get("failed", "results/manifest.json"))
    assert [failure["name"] for failure in manifest["failures"]] == ["torn.png"]
    kept = before.kept("failed")
    for good in ("chunks/0/done.json", "chunks/2/done.json", "chunks/3/done.json"):
        assert before.get("failed", good) == kept[good]
    before.respool("fetch", before.jobs["failed"], "-o", tmp_path / "out", code=1)
    assert len(frames(tmp_path / "out" / "film.mp4")) == 15
