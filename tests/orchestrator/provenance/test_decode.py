"""`verify --decode`: old films are decoded to their end, and its words tell what was checked and what was not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contract.film import FilmIndex
from contract.job import Item, Spec
from orchestrator.ingest.film import plan_film
from orchestrator.provenance.decode import decode_film
from orchestrator.provenance.verify import verify
from orchestrator.result_record import FileFacts, Record
from testkit.materials.catalog import by_name
from testkit.materials.in_process import Restored, restore
from testkit.materials.malformed import FAULTS, Fault, malformed

SPEC = Spec(model="identity", codec="ffv1", chunk_frames=20)
ALONE = ("a phantom stream", "a broken picture", "two frames at one time", "two frames exchanged", "cut off")
"""Faults that a film shows without its source and its record."""


def plan(path: Path, item: Item, spec: Spec, scale: int) -> FilmIndex:
    with path.open("rb") as file:
        return plan_film(file, item, spec, scale)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Restored]:
    """The path of a film with sound, subtitles, chapters and an attachment, and its result."""
    folder = tmp_path_factory.mktemp("rich")
    source = folder / "film.mkv"
    source.write_bytes(by_name("everything-in-mkv").make())
    return source, restore(source, "result.mkv", SPEC, folder)


def record_of(done: Restored) -> Record:
    facts = FileFacts("result.mkv", "a" * 64, len(done.data))
    return Record(
        job="0123456789abcdef", item=0, kind="video", source=facts, result=facts, statement="", generated=False, software="",
        parameters={"model": "identity", "codec": "ffv1", "chunk_frames": 20}, ingredients=(), chunks=(), damage=(), notes=(),
        submitted="", finished="", details={"witness": {"choice": "full", "frames": 48, "result": done.witnessed}},
    )  # fmt: skip


def broken(rich: tuple[Path, Restored], fault: Fault, folder: Path) -> Path:
    path = folder / "result.mkv"
    path.write_bytes(malformed(rich[1].data, "matroska", fault))
    return path


def test_a_sound_film_passes_and_the_words_name_its_checks(rich: tuple[Path, Restored], tmp_path: Path) -> None:
    """Alone, against its record, and against its source: what was compared is in the words, the rest under "not checked"."""
    source, done = rich
    path = tmp_path / "result.mkv"
    path.write_bytes(done.data)
    alone = decode_film(path, None, None, None, None)
    assert not alone.faults
    assert re.search(r"48 frames \(ffv1, \d+x\d+\)", alone.checked[0])
    assert [words.split(":")[0] for words in alone.unchecked] == [
        "streams and counts against a record",
        "times, sound and chapters against the source",
    ]
    whole = decode_film(path, None, record_of(done), source, plan)
    assert not whole.faults
    assert not whole.unchecked
    assert len(whole.checked) == 3


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_source_tells_every_fault(fault: Fault, rich: tuple[Path, Restored], tmp_path: Path) -> None:
    """With the source, without record or cluster, each malformed result is found."""
    found = decode_film(broken(rich, fault, tmp_path), None, None, rich[0], plan)
    assert found.faults
    assert not [words for words in found.unchecked if "cannot be planned" in words]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_record_tells_what_is_missing(fault: Fault, rich: tuple[Path, Restored], tmp_path: Path) -> None:
    """The streams, counts and times of the record find each fault."""
    assert decode_film(broken(rich, fault, tmp_path), None, record_of(rich[1]), None, None).faults


@pytest.mark.parametrize("name", ALONE)
def test_a_film_tells_some_faults_by_itself(name: str, rich: tuple[Path, Restored], tmp_path: Path) -> None:
    """Without anything to compare with, the file's own contradictions are found, and `verify` fails it."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    (finding,) = verify(broken(rich, fault, tmp_path), lambda _: [], None, plan)
    assert finding.fault
    assert finding.decode is not None
    assert "NOT" not in finding.how


def test_an_old_record_gives_the_number_of_frames(rich: tuple[Path, Restored], tmp_path: Path) -> None:
    """Records from before this witness have the frames of the source's decode."""
    old = record_of(rich[1])
    del old.details["witness"]["result"]
    short = next(fault for fault in FAULTS if fault.name == "the last frame missing")
    found = decode_film(broken(rich, short, tmp_path), None, old, None, None)
    assert found.faults == ["it has 47 frames, in its record 48"]


def test_a_folder_is_decoded_film_by_film(rich: tuple[Path, Restored], tmp_path: Path) -> None:
    """Films without a record are not passed over, also one that can no longer be opened; other files are."""
    (tmp_path / "a.mkv").write_bytes(rich[1].data)
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
    (tmp_path / "notes.txt").write_text("no film")
    findings = {finding.path.name: finding for finding in verify(tmp_path, lambda _: [], None, plan)}
    assert set(findings) == {"a.mkv", "b.mp4"}
    assert not findings["a.mkv"].fault
    assert "cannot be opened" in findings["b.mp4"].fault
