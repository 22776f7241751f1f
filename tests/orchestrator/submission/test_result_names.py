"""Names of sources and results: each its own, none too long, none that cannot be a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.job import Item
from orchestrator.submission import result_names
from orchestrator.submission.result_names import apart
from orchestrator.submission.sources import find
from stores.atomic_files import LONGEST, unfinished


def items(*pairs: tuple[str, str]) -> list[Item]:
    return [Item(n, "image", name, result, "0" * 64, 1) for n, (name, result) in enumerate(pairs)]


def results(*pairs: tuple[str, str]) -> list[str]:
    notes: list[str] = []
    made = [item.result for item in apart(items(*pairs), notes)]
    assert len(notes) == sum(name != result for name, (_, result) in zip(made, pairs, strict=True))
    return made


def test_results_of_one_name_keep_their_suffix() -> None:
    """a.jpg and a.webp, both to become a.png, become a.jpg.png and a.webp.png; who has the name already keeps it."""
    assert results(("a.jpg", "a.png"), ("a.webp", "a.png")) == ["a.jpg.png", "a.webp.png"]
    assert results(("a.png", "a.png"), ("a.jpg", "a.png")) == ["a.png", "a.jpg.png"]


def test_a_name_made_longer_meets_no_third_one() -> None:
    """A source that is called as the longer name would be keeps it, and the other gets a number."""
    made = results(("a.jpg", "a.png"), ("a.jpg.png", "a.jpg.png"), ("a.webp", "a.png"))
    assert len(set(made)) == 3
    assert made[1] == "a.jpg.png"


@pytest.mark.parametrize("letter", ["x", "é", "雪"])
def test_what_is_too_long_for_a_disk_is_cut_between_letters(letter: str) -> None:
    """Names of 255 bytes that get a suffix are cut, stay apart, and stay valid UTF-8."""
    long = letter * (LONGEST // len(letter.encode()))
    made = results((f"d/{long}", f"d/{long}.png"), (f"d/{long[:-1]}", f"d/{long[:-1]}.png"), ("b.png", "b.png"))
    assert len(set(made)) == 3
    assert all(len(Path(name).name.encode()) <= LONGEST and name.endswith(".png") for name in made)
    assert len(os.fsencode(unfinished(Path(made[0])).name)) < 100


def test_odd_names_in_a_folder(tmp_path: Path) -> None:
    """Line breaks, bytes that are no UTF-8 and leading dashes are taken; two that come to one name are told apart and noted."""
    for name in (b"a\nb.png", b"a_b.png", b"a\tb.png", b"-rf.png", b"\xff.png", "\u202egnp.exe".encode(), b" "):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = find([tmp_path])
    names = [file.name for file in found.files]
    assert len(set(names)) == 7
    assert {"a_b.png", "a_b (2).png", "a_b (3).png", "-rf.png", "\ufffd.png", " "} <= set(names)
    assert next(file for file in found.files if file.name == "a_b.png").path == tmp_path / "a_b.png"
    assert sum("would be called" in note for note in found.notes) == 2


def test_what_is_no_file_is_left_out_and_said(tmp_path: Path) -> None:
    """Pipes, sockets, links in circles, to nowhere and to folders neither block nor count; every one is named."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "nowhere.png").symlink_to("missing")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "real.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("real.png")
    found = find([tmp_path])
    assert [file.name for file in found.files] == ["link.png", "real.png"]
    assert len(found.notes) == 4


def test_two_sources_of_one_name_are_for_the_user_to_part(tmp_path: Path) -> None:
    """Files that were named themselves are not renamed behind the user's back."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="submit them separately"):
        find([tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"])


def test_colliding_long_names_cost_each_a_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand sources whose long names are cut alike: no source tries the numbers of those before it again."""
    tried = 0
    whole = result_names._fits

    def fits(name: str) -> bool:
        nonlocal tried
        tried += 1
        return whole(name)

    monkeypatch.setattr(result_names, "_fits", fits)
    long = "n" * LONGEST
    found = apart(items(*((f"{long}{n}.jpg", f"{long}{n}.png") for n in range(2000))), [])
    assert len({item.result for item in found}) == 2000
    assert tried < 5 * 2000
