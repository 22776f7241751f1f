"""The paper trail on the command line: bags, verification, reports, change maps and the list of failures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import bagit
import numpy as np
import pytest
import tifffile
from PIL import Image

from orchestrator.local import Cluster

NAMES = ("写真/雪.png", "a 'quoted' name.jpg", "b.tif")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs in odd places, one of them twice, and one that is cut off."""
    folder = tmp_path_factory.mktemp("photographs")
    y, x = np.mgrid[:60, :80]
    for n, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rgb = np.stack([x * 3 + n, y * 4, (x + y + 40 * n) % 256], -1).astype(np.uint8)
        Image.fromarray(rgb).save(folder / name)
    (folder / "twice.tif").write_bytes((folder / "b.tif").read_bytes())
    whole = (folder / NAMES[0]).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


def test_a_batch_leaves_a_paper_trail(cluster: Cluster, respool, photographs: Path, tmp_path: Path) -> None:
    """The rest completes, failures.csv names the bad file, maps lie beside results, and verify holds them to their records."""
    state = ["--state", cluster.folder.path]
    out = tmp_path / "out"
    job = [photographs, "--model", "lanczos", "-s", "2"]
    done = respool("run", *job, "-o", out, "--change-map", *state)
    assert done.returncode == 1, done.stderr
    with (out / "failures.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "reason"]
    assert [row[0] for row in rows[1:]] == ["cut.png"]
    assert "cut.png" in rows[1][1]
    for name in NAMES:
        with Image.open(out / name) as image:
            assert image.size == (160, 120)
        with Image.open(out / f"{name}.change.png") as image:
            assert image.size == (160, 120)
    assert (out / "b.tif").read_bytes() == (out / "twice.tif").read_bytes()
    assert "computed once" in done.stderr

    checked = respool("verify", out, "--json", *state)
    assert checked.returncode == 0, checked.stderr
    facts = json.loads(checked.stdout)
    assert len(facts) == 4
    assert all(fact["verified"] and fact["by"] == "its record's SHA-256" for fact in facts)
    hurt = bytearray((out / "b.tif").read_bytes())
    hurt[len(hurt) // 2] ^= 1
    (out / "b.tif").write_bytes(hurt)
    checked = respool("verify", out / "b.tif", *state)
    assert checked.returncode == 1
    assert "NOT VERIFIED" in checked.stdout
    away = respool("verify", out / NAMES[0], "--state", tmp_path / "nowhere", "--source", photographs / NAMES[0])
    assert away.returncode == 0, away.stderr
    assert "as the file itself says" in away.stdout
    swapped = respool("verify", out / NAMES[0], "--state", tmp_path / "nowhere", "--source", photographs / "b.tif")
    assert swapped.returncode == 1

    name = respool("submit", *job, *state).stdout.strip()
    bag = tmp_path / "bag"
    fetched = respool("fetch", name, "-o", bag, "--bag", *state)
    assert fetched.returncode == 1, "an item failed"
    assert bagit.Bag(str(bag)).is_valid()
    assert {*NAMES, "twice.tif"} == {
        p.relative_to(bag / "data").as_posix() for p in (bag / "data").rglob("*") if p.is_file()
    }
    assert respool("verify", bag, "--state", tmp_path / "nowhere").returncode == 0
    page = tmp_path / "report.html"
    assert respool("report", name, "-o", page, *state).returncode == 0
    text = page.read_text()
    assert text.count("<figure") == 4
    assert "cut.png" in text
    assert "雪" in text


def test_a_mended_file_is_all_that_is_made_again(cluster: Cluster, respool, tmp_path: Path) -> None:
    """With one of three files mended the same command makes that one: the others, untouched, stay; a changed one is in the way."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for n in range(3):
        Image.fromarray(np.full((9, 9, 3), 40 * n + len(str(tmp_path)), np.uint8)).save(folder / f"{n}.png")
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[:40])
    command = ["run", folder, "-o", out, "--model", "lanczos", "-s", "2", "--state", cluster.folder.path]
    assert respool(*command).returncode == 1
    before = {name: (out / name).stat().st_mtime_ns for name in ("0.png", "2.png")}
    (folder / "1.png").write_bytes(whole)
    done = respool(*command)
    assert done.returncode == 0, done.stderr
    assert "2 files" in done.stdout
    assert "1 of 1 files" in done.stdout
    assert not (out / "failures.csv").exists()
    again = respool(*command)
    assert again.returncode == 0
    assert "3 files" in again.stdout
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}
    (out / "0.png").write_bytes(b"by somebody else")
    refused = respool(*command)
    assert refused.returncode == 2
    assert "0.png exists already and is not a result of this job" in refused.stderr


def test_a_film_has_a_trail_too(cluster: Cluster, respool, small_film: Path, tmp_path: Path) -> None:
    """A film's report shows moments of it, its bag validates, its sheet has a row for each frame asked for."""
    state = ["--state", cluster.folder.path]
    name = respool("submit", small_film, "--model", "lanczos", "-s", "2", *state).stdout.strip()
    assert respool("watch", name, *state).returncode == 0
    bag, page, sheet = tmp_path / "bag", tmp_path / "report.html", tmp_path / "sheet.png"
    assert respool("fetch", name, "-o", bag, "--bag", *state).returncode == 0
    assert bagit.Bag(str(bag)).is_valid()
    assert b"eventType" in (bag / "premis.xml").read_bytes()
    assert respool("report", name, "-o", page, "--pairs", "3", *state).returncode == 0
    assert page.read_text().count("<figure") == 3
    (result,) = (bag / "data").iterdir()
    away = ["--state", tmp_path / "nowhere"]
    decoded = respool("verify", bag, "--decode", "--source", small_film, "--json", *away)
    assert decoded.returncode == 0, decoded.stdout
    (fact,) = json.loads(decoded.stdout)
    assert not fact["decode"]["unchecked"]
    assert any("against its record" in words for words in fact["decode"]["checked"])
    cut = tmp_path / f"cut{result.suffix}"
    cut.write_bytes(result.read_bytes()[:-2000])
    decoded = respool("verify", cut, "--decode", *away)
    assert decoded.returncode == 1
    assert "NOT VERIFIED" in decoded.stdout
    compared = respool("compare", small_film, result, "-o", sheet, "--frames", "2")
    assert compared.returncode == 0, compared.stderr
    with Image.open(sheet) as image:
        assert image.width > 1200
    again = respool("compare", small_film, result, "-o", sheet)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_other_messages_are_refused(respool_here, tmp_path: Path) -> None:
    """`verify` and `compare` say in one sentence why they cannot do it, with exit code 2."""
    (tmp_path / "a.png").write_bytes(b"")
    for words in (
        ["verify", tmp_path / "missing"],
        ["verify", tmp_path],
        ["compare", tmp_path / "a.png", tmp_path / "missing", "-o", tmp_path / "s.png"],
        ["compare", tmp_path / "a.png", tmp_path / "a.png", "-o", tmp_path / "s.txt"],
    ):
        done = respool_here(*words)
        assert done.returncode == 2, (words, done)
        assert done.stderr
    assert not (tmp_path / "s.png").exists()


def test_a_damaged_picture_is_on_record(cluster: Cluster, respool, tmp_path: Path) -> None:
    """The readable part of a broken scan is restored; failures, record, PREMIS and report name the damage; --strict fails it."""
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.random.default_rng(1).integers(0, 255, (256, 64, 3), np.uint8),
        photometric="rgb",
        compression="zlib",
        rowsperstrip=16,
    )
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.tif").write_bytes(data)
    state = ["--state", cluster.folder.path]
    job = [tmp_path / "a.tif", "--model", "lanczos", "-s", "1"]
    name = respool("submit", *job, *state).stdout.strip()
    assert respool("watch", name, *state).returncode == 0
    assert respool("fetch", name, "-o", tmp_path / "bag", "--bag", *state).returncode == 0
    [record] = map(json.loads, (tmp_path / "bag" / "respool-records.jsonl").read_text().splitlines())
    assert "damaged from row" in record["damage"][0]["reason"]
    premis = (tmp_path / "bag" / "premis.xml").read_text()
    assert ">warning<" in premis
    assert "frames 0" not in premis
    strict = respool("run", *job, "--strict", "-o", tmp_path / "b.tif", *state)
    assert strict.returncode == 1
    assert not (tmp_path / "b.tif").exists()
