"""OUT as the name of the copy: one file from one source, never a folder called like a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from training.degrade.__main__ import main


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Write a small clean picture."""
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[:96, 160:288])).save(path)
    return path


def degraded(*arguments: object) -> tuple[int, str]:
    """Run `respool degrade`'s program; return its exit code and what it says."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def test_a_file_name_gives_that_file(clean: Path, tmp_path: Path) -> None:
    """`-o b.png` writes b.png and its draw beside it, and writes it again."""
    out = tmp_path / "new" / "b.png"
    for _ in range(2):
        assert degraded(clean, "-o", out, "-s", 2)[0] == 0
        with Image.open(out) as image:
            assert image.size == (64, 48)
        [entry] = json.loads(out.with_name("b.png.json").read_bytes())
        assert (entry["source"], entry["copy"]) == ("a.png", "b.png")
    assert sorted(path.name for path in out.parent.iterdir()) == ["b.png", "b.png.json"]


@pytest.mark.parametrize("name", ["b.jpg", "b.mp4", "b.tif", "b.mov"])
def test_a_format_that_copies_do_not_have_is_refused_by_name(name: str, clean: Path, tmp_path: Path) -> None:
    """The sentence names the file that works, nothing is made, and that name works."""
    code, said = degraded(clean, "-o", tmp_path / name)
    assert code == 2
    assert "name it b.png" in said
    assert not (tmp_path / name).exists()
    assert degraded(clean, "-o", tmp_path / "b.png")[0] == 0


def test_one_file_takes_one_source(clean: Path, tmp_path: Path) -> None:
    """Two sources, or a folder, do not fit into one file; an existing folder of that name is a folder."""
    assert degraded(clean, clean, "-o", tmp_path / "b.png")[0] == 2
    assert degraded(tmp_path, "-o", tmp_path / "b.png")[0] == 2
    (tmp_path / "c.png").mkdir()
    assert degraded(clean, "-o", tmp_path / "c.png")[0] == 0
    assert (tmp_path / "c.png" / "a.png").is_file()
