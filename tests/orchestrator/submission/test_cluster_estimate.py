"""Estimates for a cluster: what tells the pace, how chunks fill workers, and nothing said that is not known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import pyvips

from contract import keys
from contract.documents import encode, raw
from contract.job import Manifest
from contract.settings import Settings
from orchestrator.cli.main import call
from orchestrator.past_pace import RECORD, Work
from orchestrator.submission.cluster_estimate import Pace, estimate, known_pace, units_of
from orchestrator.submission.published_pace import NETWORKS, PUBLISHED
from stores.storage import Storage
from testkit.clips import make_film

ROOT = Path(__file__).parents[3]
FILM = "film: lanczos at 4x in x264"
KNOWN = "film: realesr-animevideov3 at 4x in x264"


def test_workers_take_the_next_chunk_when_they_are_free() -> None:
    """Three chunks of two megapixels on two workers are as long as two of them; a tenth worker changes nothing more."""
    pace = Pace(1.0, 1.5, "a job")
    units = [([2.0, 2.0, 2.0], pace)]
    assert (estimate(units, 1).least, estimate(units, 1).most) == (6.0, 9.0)
    assert estimate(units, 2).least == 4.0
    assert estimate(units, 10).least == estimate(units, 3).least == 2.0


def test_cost_is_that_of_all_workers_until_the_end() -> None:
    """Workers that find no chunk are held, and paid, as well."""
    found = estimate([([3600.0], Pace(1.0, 2.0, ""))], 4)
    assert found.cost(2.5) == (10.0, 20.0)


def test_jobs_of_the_cluster_go_before_what_is_published() -> None:
    """A GPU is told by a part of its name in any case; jobs on others do not count; published figures need a name."""
    past = [Work(KNOWN, "NVIDIA H200", 10.0, 20.0), Work(KNOWN, "cpu", 10.0, 900.0)]
    assert known_pace(KNOWN, past, "h200") == Pace(2.0, 2.0, "1 past job on NVIDIA H200")
    assert known_pace(KNOWN, past, None) == Pace(2.0, 90.0, "2 past jobs on NVIDIA H200, cpu")
    published = known_pace(KNOWN, [], "h200")
    assert published is not None
    assert "docs/performance.md" in published.told
    assert known_pace(KNOWN, [], None) is None
    assert known_pace(KNOWN, past, "A100") is None
    assert known_pace(FILM, [], "h200") is None


def test_published_figures_are_those_of_the_page() -> None:
    """The table in the code and the one in docs/performance.md are one."""
    text = (ROOT / "docs" / "performance.md").read_text()
    frame = 640 * 480 / 1e6
    whole = {float(t) for t in re.findall(r"^\| ours[^|]*\| (0\.04\d) \|", text, re.M)}
    assert whole == {round(PUBLISHED[0].least * frame, 4), round(PUBLISHED[0].most * frame, 4)}
    alone = [
        float(t) / 1000
        for t in re.findall(r"^\| \| \*\*fp16, compiled, CUDA graph\*\* \| \*\*([\d.]+)\*\*", text, re.M)
    ]
    ours = [float(t) / 1000 for t in re.findall(r"^\| \*\*anim[^|]*\| \*\*([\d.]+)\*\* \|", text, re.M)]
    assert [known.seconds for known in NETWORKS] == pytest.approx([*ours, alone[-1]])
    encoding = min(whole)
    for known, network in zip(PUBLISHED[1:], alone[1:], strict=True):
        assert known.least * frame == pytest.approx(max(network, encoding))
        assert known.most * frame == pytest.approx(network + encoding)


def test_images_are_counted_in_groups() -> None:
    """Nine megapixels of images are three groups."""
    assert units_of([], 9.0) == {"video": [], "image": [3.0, 3.0, 3.0]}
    assert units_of([], 0.0) == {"video": [], "image": []}


@pytest.fixture
def named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Name the tests' servers as a real cluster, with an empty store."""
    fresh = replace(settings, s3_bucket=f"{settings.s3_bucket}-estimate")
    names = ("redis_url", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_bucket")
    for name in names:
        monkeypatch.setenv(f"RESPOOL_{name.upper()}", str(getattr(fresh, name)))
    return fresh


def test_what_is_not_known_is_said(named: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a job or a measurement: one sentence with what to do; size and storage are there all the same."""
    del named
    film = make_film(tmp_path / "film.mp4", 20)
    assert call(["estimate", str(film), "-m", "lanczos", "--gpu", "A100", "--workers", "4", "--price", "2"]) == 0
    said = capsys.readouterr().out
    assert f"time and cost: unknown: the pace of 'A100' with {FILM} is not known; restore a short piece" in said
    assert "size: " in said
    assert "storage: about " in said
    assert call(["estimate", str(film), "-m", "lanczos", "--gpu", "A100", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["seconds"], facts["cost"], facts["films"]) == (None, None, 1)
    assert (facts["workers"], facts["chunks"]) == (1, 1), "what is known is there where the time is not"


def test_past_jobs_tell_time_and_cost(named: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty frames of 96x64 in chunks of five, at 100 s a megapixel: four chunks of 3.07 s."""
    storage = Storage(named)
    storage.ensure_bucket()
    storage.put(
        keys.manifest("e" * 16),
        encode(Manifest("e" * 16, "done", (), record={RECORD: raw([Work(FILM, "A100 80GB", 1.0, 100.0)])})),
    )
    film = make_film(tmp_path / "film.mp4", 20)
    given = ["estimate", str(film), "-m", "lanczos", "--gpu", "a100", "--chunk-frames", "5", "--price", "3600"]
    assert call([*given, "--workers", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["seconds"] == [6.1, 6.1]
    assert facts["cost"] == [pytest.approx(12.288), pytest.approx(12.288)]
    assert call([*given, "--workers", "6"]) == 0
    said = capsys.readouterr().out
    assert "time: about 0:03 for 6 workers, of which 2 find no chunk, 4 chunks (1 past job on A100 80GB)" in said
    assert "cost: about 18.43 for 6 workers at 3,600.00 an hour" in said


def test_options_that_change_no_estimate_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--priority does nothing here, and is not silently ignored."""
    pyvips.Image.black(40, 30, bands=3).write_to_file(str(tmp_path / "a.png"))
    assert call(["estimate", str(tmp_path / "a.png"), "--priority", "9"]) == 2
    assert "No such option '--priority'" in capsys.readouterr().err
