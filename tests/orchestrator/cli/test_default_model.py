"""The generator of a command that names none, and presets: told, and never instead of what is given."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import pyvips

from contract.job import Spec
from orchestrator.cli.main import call
from orchestrator.cli.options import job_options, spec_of
from orchestrator.submission import default_model as default_model_module
from orchestrator.submission.default_model import WORK, default_model
from orchestrator.submission.model_choice import with_model
from orchestrator.submission.presets import AUTO, FILM, PHOTOGRAPH
from testkit.clips import make_film

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with a film and a photograph."""
    make_film(tmp_path / "film.mp4", 10)
    pyvips.Image.black(40, 30, bands=3).write_to_file(str(tmp_path / "photo.png"))
    return tmp_path


def chosen(*paths: Path) -> tuple[str, list[str]]:
    said: list[str] = []
    spec, _ = with_model(Spec(AUTO), paths, said.append)
    return spec.model, said


def test_an_unreadable_file_is_what_its_name_says(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default does not change, and with it the job, when a file's permissions are mended."""

    def unreadable(path: Path, name: str) -> str:
        if path.suffix == ".png":
            raise PermissionError(13, "Permission denied")
        return "video"

    monkeypatch.setattr(default_model_module, "kind_of", unreadable)
    assert chosen(sources)[0] == PHOTOGRAPH


def test_kinds_of_sources_choose_the_model(sources: Path) -> None:
    """Films get one, images another, and both together one that serves images; a sentence names it each time, with the time that others take."""
    film, photo = sources / "film.mp4", sources / "photo.png"
    for paths, model, why in (
        ((film,), FILM, "default for films"),
        ((photo,), PHOTOGRAPH, "default for images"),
        ((sources,), PHOTOGRAPH, "images among films"),
    ):
        found, said = chosen(*paths)
        assert found == model
        assert len(said) == 1
        assert why in said[0]
    assert "RealESRGAN_x4plus (--for photo) invents more detail and takes about 29 times as long" in chosen(film)[1][0]
    assert "realesr-animevideov3 (--for fast) takes about 1/29 of the time" in chosen(photo)[1][0]


def test_a_model_that_is_named_needs_no_words(sources: Path) -> None:
    """A generator that was named stays, without a sentence."""
    said: list[str] = []
    spec = Spec("lanczos")
    assert with_model(spec, [sources / "film.mp4"], said.append)[0] is spec
    assert not said


def test_the_work_of_models_is_that_of_the_page() -> None:
    """The MFLOP behind "29 times" are those of docs/operations.md."""
    page = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    listed = re.search(r"in MFLOP: (.+?); GFPGAN", page)
    assert listed is not None
    found = {name: float(work) for name, work in re.findall(r"(\S+) ([\d.]+)(?:,|$)", listed[1])}
    assert {name for name in WORK if not any(name.endswith(short) for short in found)} == set()
    for short, work in found.items():
        known = [WORK[name] for name in WORK if name.endswith(short)]
        assert known in ([work], []), short
    assert default_model({"video"})[0] == FILM


@click.command()
@job_options
def work(**options: Any) -> None:
    """Parse as `run` does."""
    work.made = spec_of(options)  # type: ignore[attr-defined]


def parse(*argv: object) -> Spec:
    work.main([str(a) for a in argv], standalone_mode=False)
    made: Spec = work.made  # type: ignore[attr-defined]
    return made


def test_presets_set_model_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Each names a model; fast also encodes faster."""
    assert parse().model == AUTO
    assert parse("--for", "photo").model == PHOTOGRAPH
    assert (parse("--for", "fast").model, parse("--for", "fast").preset) == (FILM, "quick")
    assert parse("--for", "fast", "--codec", "x265").preset == "veryfast"
    assert capsys.readouterr().err == ""


def test_a_given_option_goes_before_a_preset_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The note names the preset, its value and the one that is used."""
    assert parse("--for", "photo", "-m", "lanczos").model == "lanczos"
    said = capsys.readouterr().err
    assert "note: --for photo sets --model RealESRGAN_x4plus; --model lanczos is given, and is used." in said
    assert parse("--for", "fast", "--preset", "slow").preset == "slow"
    assert "--preset slow is given, and is used" in capsys.readouterr().err
    assert parse("--for", "fast", "--profile", "preservation").preset is None
    assert "--for fast sets --preset for x264 and x265 alone" in capsys.readouterr().err


def test_commands_tell_the_default(sources: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Run says it before the work; estimate and probe say it too, and their JSON stays clean."""
    film, state = str(sources / "film.mp4"), str(tmp_path / "state")
    line = f"model: {FILM}, the default for films"
    assert call(["run", film, "-o", str(tmp_path / "out.mp4"), "--dry-run", "--state", state]) == 0
    assert line in "".join(capsys.readouterr())
    assert call(["estimate", film, "--json", "--state", state]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["films"] == 1
    assert line in err
    assert call(["probe", film, "--json", "--state", state]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["plan"]["width"] == 384
    assert line in err
