"""The outlook of a job: conversions and losses are announced, and a full disk is refused, before any work."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from contract.errors import UsageError
from contract.job import Spec
from contract.settings import Settings
from orchestrator.cli.main import call
from orchestrator.submission.outlook import FilmOutlook, describe, refuse_full_disk
from orchestrator.submission.submit import Draft, draft
from testkit.clips import make_film
from testkit.natural_clips import make_moving

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def small_film(tmp_path: Path) -> Path:
    """24 frames of 64x48."""
    return make_moving(tmp_path / "film.mp4", 24, (64, 48))


@pytest.fixture
def checked(small_film: Path) -> Draft:
    """A film that was looked at."""
    return draft([small_film], Spec(model="lanczos", scale=2.0, codec="ffv1", container="mkv"), Settings())


def test_a_film_is_announced_in_one_line(checked: Draft, small_film: Path) -> None:
    """Frames, sizes, codec and the streams that are copied; more films are counted, and their losses are listed."""
    line, size, time = checked.outlook("time: unknown")
    assert line.startswith(f"{small_film.name}: 24 frames of 64x48 become 128x96 ffv1 ")
    assert line.endswith("in matroska")
    assert size.startswith("size: ")
    assert len(size) <= 80
    assert time == "time: unknown"
    lines = describe(checked.films * 5, 3, 12.34, [])
    assert len(lines) == 6
    assert lines[3].startswith("and 2 more films; `respool probe`")
    assert lines[4] == "3 images of 12.3 megapixels"
    assert "films alone" in lines[5]


def test_deinterlacing_comes_first(checked: Draft) -> None:
    """Nobody learns of it from the result."""
    film = checked.films[0]
    woven = FilmOutlook(film.name, film.size, msgspec.structs.replace(film.index, deinterlace=True))
    assert "become deinterlaced, 128x96" in woven.line()
    assert "1 of them deinterlaced" in describe([film, film, film, film, woven], 0, 0.0, [])[3]


def test_chunks_are_counted_as_the_job_will_cut_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A frame of 320x240 through RealESRGAN_x4plus is 2.75 TFLOP: a chunk has 22 of them at most, in probe and in estimates, too."""
    film = make_film(tmp_path / "film.mp4", 60, (320, 240))
    (seen,) = draft([film], Spec(model="x4plus"), Settings()).films
    assert seen.index.chunks[0].count == 15, "a quarter of the film, as this is less than 22"
    assert call(["probe", str(film), "-m", "x4plus", "--no-evidence", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["plan"]["chunks"] == len(seen.index.chunks) > 2


def test_a_full_disk_is_refused_before_the_work(
    checked: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has both figures; what the store holds already of a job begun earlier is not asked for twice."""
    state, out = tmp_path / "state", tmp_path / "out.mkv"
    (state / "s3").mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 10**8, 10**8))
    refuse_full_disk(checked.films, 10**6, state, out)
    with pytest.raises(UsageError, match=r"has 0\.03 GB to spare, but this job needs at least 0\.10 GB there"):
        refuse_full_disk(checked.films, 10**8, state, out)
    (state / "s3" / "1.dat").write_bytes(bytes(9 * 10**7))
    assert refuse_full_disk(checked.films, 10**8, state, out) == ""


def test_a_disk_that_may_be_too_small_is_named(checked: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A black film would fit, so nothing is refused, but the range's end would not."""
    film = checked.films[0]
    long = FilmOutlook(film.name, film.size, msgspec.structs.replace(film.index, frames=24_000))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 10**8, 10**8))
    assert long.least < 10**7 < long.expected[1]
    warning = refuse_full_disk([long], 10**6, None, tmp_path / "out.mkv")
    assert "has 0.03 GB to spare, and this job may need up to 0." in warning


def test_a_dry_run_starts_nothing(small_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says the same and leaves no state and no output."""
    state, out = tmp_path / "state", tmp_path / "out.mp4"
    argv = ["run", str(small_film), "-o", str(out), "-m", "lanczos", "-s", "2", "--dry-run", "--state", str(state)]
    assert call(argv) == 0
    said = capsys.readouterr().err
    assert "24 frames of 64x48 become 128x96 x264" in said
    assert "\nsize: " in said
    assert "\ntime: unknown; past jobs tell it once a cluster runs" in said
    assert not state.exists()
    assert not out.exists()


def test_filters_over_time_are_refused_where_there_are_no_neighbours(
    small_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images and previews have no neighbouring frames: the option is no silent nothing, and films beside images keep it."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    steady = Spec(model="lanczos", scale=2.0, steady=0.5, deflicker=True)
    with pytest.raises(
        UsageError, match="--deflicker and --steady need a film, and all sources are images; leave them out"
    ):
        draft([tmp_path / "a.png"], steady, Settings())
    both = draft([tmp_path / "a.png", small_film], steady, Settings())
    assert any("become deflickered, steadied, 128x96" in line for line in both.outlook(""))
    assert "--deflicker and --steady need a film: the images are restored without them" in both.notes
    assert call(["probe", str(tmp_path / "a.png"), "--model", "lanczos", "--steady", "1"]) == 2
    assert "--steady needs a film" in capsys.readouterr().err
    sheet = tmp_path / "sheet.png"
    assert call(["preview", str(small_film), "-o", str(sheet), "--model", "lanczos", "--steady", "1"]) == 2
    assert "--steady needs neighbouring frames" in capsys.readouterr().err
    assert call(["preview", str(small_film), "-o", str(sheet), "--model", "lanczos", "--deflicker"]) == 2
    assert "--deflicker needs neighbouring frames" in capsys.readouterr().err
    assert not sheet.exists()
