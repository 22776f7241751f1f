"""Fields: seen by their evidence, and made whole the same way in any number of chunks."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from contract.job import Item, Spec
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.interlacing import judge, look
from testkit.materials import draw
from testkit.materials.catalog import by_name
from testkit.materials.check import pictures
from testkit.materials.in_process import restore
from testkit.materials.recipe import x264
from testkit.materials.write import Film, write


def woven_but_unflagged() -> bytes:
    """Interlaced pictures in a stream that calls itself progressive, in a container that lies about time."""
    return write(Film("avi", "libx264", x264(), picture=lambda w, h, i, p, s: draw.frame(w, h, i, p, s, "bff")))


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
