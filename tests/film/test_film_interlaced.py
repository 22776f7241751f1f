"""Fields: seen by their evidence, and made whole the same way in any number of chunks."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from contract.job import Item, Spec
from contract.settings import Settings
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.interlacing import judge, look
from testkit.materials import moving
from testkit.materials.catalog import by_name
from testkit.materials.check import pictures
from testkit.materials.in_process import restore
from testkit.materials.write import Film, write
from workers.generators.registry import load


def woven_but_unflagged() -> bytes:
    """A pan over texture, its fields half a frame apart, that nothing flags as interlaced."""
    return moving.film(moving.texture(), 0, 5, "bff")


SOURCES = {
    "mpeg2": by_name("mpeg2-interlaced-pal").make,
    "mbaff": by_name("h264-mbaff").make,
    "field-pictures": by_name("h264-field-pictures").make,
    "unflagged": woven_but_unflagged,
}


@pytest.mark.parametrize("name", SOURCES)
def test_deinterlacing_does_not_know_chunk_borders(name: str, tmp_path: Path) -> None:
    """`bwdif` over chunks of 20, 7 and 3 frames gives bit for bit what it gives over the whole film."""
    data = SOURCES[name]()
    (tmp_path / "film").write_bytes(data)
    made = []
    for chunk_frames in (10_000, 20, 7, 3):
        spec = Spec(model="identity", codec="ffv1", deinterlace="bwdif", chunk_frames=chunk_frames)
        done = restore(tmp_path / "film", "result.mkv", spec, tmp_path)
        assert done.index.deinterlace
        made.append([p.crc for p in pictures(done.data)])
    assert made[1:] == made[:1] * 3
    original = [p.crc for p in pictures(data)]
    assert len(made[0]) == len(original)
    assert all(a != b for a, b in zip(made[0], original, strict=True))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (by_name("h264-closed-gop").make, "progressive"),
        (by_name("mpeg2-interlaced-pal").make, "interlaced-tff"),
        (woven_but_unflagged, "interlaced-bff"),
        (by_name("mpeg2-hard-telecine").make, "telecined"),
    ],
    ids=["progressive", "tff", "bff", "telecined"],
)
def test_scanning_is_judged_by_flags_and_samples(make, kind: str) -> None:  # type: ignore[no-untyped-def]
    """Progressive, interlaced (with its field order) and telecined films are told apart, and the evidence is in words."""
    found = judge(look(io.BytesIO(make()), 0, [0], "film"))
    assert found.kind == kind
    assert "idet sees" in found.evidence


def test_a_telecine_by_flags_is_told_and_left_alone() -> None:
    """Repeat flags are evidence of a telecine, and the frames, which are whole, are not deinterlaced."""
    item = Item(0, "video", "film.mpg", "result.mkv", "0" * 64, 1)
    index = plan_film(io.BytesIO(by_name("mpeg2-soft-telecine").make()), item, Spec(model="lanczos", scale=1), 1)
    assert index.scanning.kind == "telecined"
    assert index.scanning.evidence.startswith("30 of 60 frames ask for a repeated field")
    assert not index.deinterlace


def test_the_identity_leaves_fields_alone(tmp_path: Path) -> None:
    """An interlaced film stays interlaced under the identity, and its result says so."""
    (tmp_path / "film.mpg").write_bytes(by_name("mpeg2-interlaced-pal").make())
    done = restore(tmp_path / "film.mpg", "result.mkv", Spec(model="identity", codec="x264"), tmp_path)
    assert not done.index.deinterlace
    assert done.index.encoding.field_order > 1


@pytest.mark.parametrize(("codec", "pix_fmt"), [("cinepak", "rgb24"), ("msvideo1", "rgb555le")])
def test_codecs_without_fields_are_never_interlaced(codec: str, pix_fmt: str) -> None:
    """Films in Cinepak and Video 1 stay progressive, although `idet` sees fields in the blocks of these codecs."""
    data = write(Film("avi", codec, pix_fmt=pix_fmt, frames=30))
    item = Item(0, "video", "film.avi", "result.mkv", "0" * 64, 1)
    index = plan_film(io.BytesIO(data), item, Spec(model="lanczos", scale=1, codec="ffv1"), 1)
    assert index.scanning.kind == "progressive"
    assert not index.deinterlace


SPEEDS = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 3), (-1.5, 0), (0, 1), (0, 6), (0, 2.6)]


@pytest.mark.parametrize(("down", "right"), SPEEDS)
@pytest.mark.parametrize("page", [moving.titles, moving.texture])
def test_progressive_motion_is_never_taken_for_fields(page, down: float, right: float) -> None:  # type: ignore[no-untyped-def]
    """Scrolling titles and pans of a progressive film are left alone, at any speed; idet alone misjudges titles."""
    found = judge(look(io.BytesIO(moving.film(page(), down, right)), 0, [0], "film"))
    assert not found.kind.startswith("interlaced"), found.evidence


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(("down", "right"), [(2, 0), (3, 0), (5, 3), (0, 1), (0, 6), (0, 2.6)])
def test_fields_are_found_without_flags(down: float, right: float, order: str) -> None:
    """A pan whose fields show two moments is interlaced, with its field order, though nothing flags it."""
    found = judge(look(io.BytesIO(moving.film(moving.texture(), down, right, order)), 0, [0], "film"))
    assert found.kind == f"interlaced-{order}", found.evidence


def test_scrolling_titles_come_out_as_they_went_in(tmp_path: Path) -> None:
    """At scale 1 lanczos returns progressive titles nearly as they are; deinterlaced they lose half their lines."""
    source = tmp_path / "titles.mp4"
    source.write_bytes(moving.film(moving.titles(), 3, 0))
    spec = Spec(model="lanczos", scale=1, codec="ffv1")
    done = restore(source, "result.mkv", spec, tmp_path, load(spec, {}, Settings(device="cpu")))
    assert not done.index.deinterlace
    before, after = (_luma(data) for data in (source.read_bytes(), done.data))
    assert len(before) == len(after)
    assert np.abs(np.stack(before) - np.stack(after)).mean() < 1


def _luma(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as container:
        return [f.reformat(format="gray").to_ndarray().astype(np.float32) for f in container.decode(video=0)]
