"""OUT in a format that is read and not written: refused by name, with names that work, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cli.main import call
from orchestrator.cli.options import one_file


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".jp2", ".jxl", ".heic", ".psd", ".ppm", ".GIF"])
@pytest.mark.parametrize("command", ["run", "preview"])
def test_a_picture_in_such_a_format_is_refused(
    command: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder of that name is made, no cluster is started, and the names that the sentence gives are those of files."""
    source = tmp_path / "a.png"
    Image.new("RGB", (16, 12)).save(source)
    out = tmp_path / f"out{suffix}"
    assert call([command, str(source), "-o", str(out), "-m", "lanczos", "--state", str(tmp_path / "state")]) == 2
    said = capsys.readouterr().err
    assert out.name in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    if command == "run":
        assert "out.png or out.tif" in said
        assert one_file(out.with_suffix(".png"), (source,))
        assert one_file(out.with_suffix(".tif"), (source,))


@pytest.mark.parametrize("name", ["x.gif", "x.heic"])
def test_an_existing_folder_of_that_name_is_a_folder(name: str, tmp_path: Path) -> None:
    """A folder that is called like a picture is no file to write."""
    (tmp_path / name).mkdir()
    assert not one_file(tmp_path / name, (tmp_path / "a.png",))
