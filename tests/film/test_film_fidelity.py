"""Every material, cut into one, three and many chunks: what goes in comes out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contract.errors import BadInput, Unsupported
from contract.job import Spec
from testkit.materials.catalog import MATERIALS, Material, by_name
from testkit.materials.check import compare
from testkit.materials.in_process import restore

EXACT = [m for m in MATERIALS if m.expect in ("exact", "joined")]
DAMAGED = [m for m in MATERIALS if m.expect == "damaged"]
SHORT = ("one-frame", "dv", "dv-ntsc-411", "h264-field-pictures", "drawn-1702-late-sound-to-mov")
"""Materials of fewer than 15 frames, which make fewer than three chunks."""
REFUSED = [m for m in MATERIALS if m.expect == "refused"]


def _restored(material: Material, data: bytes, folder: Path, chunk_frames: int):  # type: ignore[no-untyped-def]
    source = folder / f"film.{material.suffix}"
    source.write_bytes(data)
    spec = Spec(model="identity", codec=material.codec, chunk_frames=chunk_frames)
    return restore(source, f"result.{material.target}", spec, folder)


def test_every_material_has_a_name_of_its_own() -> None:
    """Tests that look materials up by name judge each by its own expectation."""
    assert len({material.name for material in MATERIALS}) == len(MATERIALS)


@pytest.mark.parametrize("material", EXACT, ids=lambda m: m.name)
def test_what_goes_in_comes_out(material: Material, tmp_path: Path) -> None:
    """With the identity every frame, time, stream, tag and shape of a sound film is in its result, however it is cut."""
    data = material.make()
    counts = []
    for chunk_frames in (10_000, 20, 7):
        done = _restored(material, data, tmp_path, chunk_frames)
        verdict = compare(data, done.data, material.codec == "ffv1", material.codec, material.expect == "joined")
        assert not verdict.problems, (chunk_frames, done.notes)
        assert not material.says or any(re.search(material.says, note) for note in done.notes), done.notes
        if material.expect == "exact":
            assert not done.damage
        counts.append(len(done.index.chunks))
    assert counts == sorted(counts)
    if material.name not in SHORT:
        assert counts[-1] >= 3


@pytest.mark.parametrize("material", DAMAGED, ids=lambda m: m.name)
def test_damage_is_reported(material: Material, tmp_path: Path) -> None:
    """Differences from a careful sequential decode of a damaged film are reported, and no frame is lost."""
    data = material.make()
    for chunk_frames in (10_000, 20, 7):
        done = _restored(material, data, tmp_path, chunk_frames)
        verdict = compare(data, done.data, lossless=True)
        assert not verdict.problems or done.damage or done.notes


@pytest.mark.parametrize("material", REFUSED, ids=lambda m: m.name)
def test_what_cannot_be_restored_is_refused_in_one_sentence(material: Material, tmp_path: Path) -> None:
    """A file that is no film, or not one for these networks, is refused before any work, by name."""
    with pytest.raises(BadInput, match=material.says or r"film\.") as caught:
        _restored(material, material.make(), tmp_path, 20)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_hdr_passes_when_asked_for(tmp_path: Path) -> None:
    """--hdr lets PQ film through with its code values and tags untouched."""
    material = by_name("hdr-pq")
    data = material.make()
    (tmp_path / "film.mkv").write_bytes(data)
    spec = Spec(model="identity", codec="ffv1", chunk_frames=20, hdr=True)
    done = restore(tmp_path / "film.mkv", "result.mkv", spec, tmp_path)
    assert not compare(data, done.data, lossless=True).problems


def test_frames_of_another_size_are_scaled_and_named(tmp_path: Path) -> None:
    """A film that changes its size keeps every frame, at the size of its beginning, and the notes say so."""
    data = by_name("resolution-change").make()
    (tmp_path / "film.ts").write_bytes(data)
    done = restore(tmp_path / "film.ts", "result.mkv", Spec(model="identity", codec="ffv1", chunk_frames=20), tmp_path)
    notes = [note for result in done.results for note in result.notes]
    assert sum(r.frames for r in done.results) == 48
    assert any("128x96" in note and "scaled" in note for note in notes)


def test_a_named_container_that_cannot_hold_a_stream_is_refused_with_one_that_can(tmp_path: Path) -> None:
    """Subtitles and attachments that mp4 has no place for are not dropped: the sentence names mkv."""
    (tmp_path / "film.mkv").write_bytes(by_name("everything-in-mkv").make())
    with pytest.raises(Unsupported, match=r"mp4 cannot hold; name the result \.mkv"):
        restore(tmp_path / "film.mkv", "result.mp4", Spec(model="identity", codec="x264"), tmp_path)


def test_a_container_that_nobody_asked_for_gives_way(tmp_path: Path) -> None:
    """A result that is named as its source becomes mkv when mp4 cannot hold FFV1, and a note says why."""
    (tmp_path / "film.mp4").write_bytes(by_name("h264-closed-gop").make())
    folder = tmp_path / "out"
    folder.mkdir()
    done = restore(tmp_path / "film.mp4", "film.mp4", Spec(model="identity", codec="ffv1"), folder)
    assert done.index.container == "matroska"
    assert any("ffv1" in note and ".mkv" in note for note in done.notes)
