"""Links in donated folders: followed within the folder, refused where they lead out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import BadInput
from orchestrator.submission.numbering import numbered
from orchestrator.submission.sources import find


@pytest.fixture
def donation(tmp_path: Path) -> Path:
    """A folder with a photograph, beside a file that only the submitter should be able to read."""
    (tmp_path / "credentials").write_text("secret")
    folder = tmp_path / "donation"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.mark.parametrize("name", ["b.png", "a.xmp", "a.png.md5", "b.txt"])
@pytest.mark.parametrize("target", ["../credentials", "/etc/hostname"])
def test_links_out_of_a_folder_are_left_out(donation: Path, name: str, target: str) -> None:
    """Whatever a link is called, a source, a sidecar or a list of checksums, its target outside is not read; a note names it."""
    (donation / name).symlink_to(target)
    found = find([donation])
    assert [file.path.name for file in found.files] == ["a.png"]
    assert [file.sidecar for file in found.files] == [None]
    assert any(name in note and "leads out" in note for note in found.notes)


def test_links_within_a_folder_are_followed(donation: Path) -> None:
    """A link to another file of the same folder is a source like any other."""
    (donation / "b.png").symlink_to("a.png")
    assert [file.path.name for file in find([donation]).files] == ["a.png", "b.png"]


def test_a_chain_of_links_counts_by_its_end(donation: Path) -> None:
    """A link to a link that leads out leads out."""
    (donation / "first.png").symlink_to("second.png")
    (donation / "second.png").symlink_to("../credentials")
    assert [file.path.name for file in find([donation]).files] == ["a.png"]


def test_a_sequence_with_a_link_out_is_refused(donation: Path, tmp_path: Path) -> None:
    """A frame of a numbered sequence cannot be a link to elsewhere."""
    (donation / "a.png").rename(donation / "scan_1.png")
    (donation / "scan_2.png").symlink_to(tmp_path / "credentials")
    with pytest.raises(BadInput, match="leads out"):
        numbered(donation, [])
