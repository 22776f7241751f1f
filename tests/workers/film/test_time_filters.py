"""Filters over time, alone and together: the same frames in any chunks, and a record of every frame."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import BadInput
from contract.job import Spec
from contract.time_filters import TIME_FILTERS, asked, context_of
from media.frame_changes import merged
from testkit.film_damage import Amounts, damage, pan
from testkit.filtered import in_chunks, write_film

SPEC = Spec(model="identity", codec="ffv1")
ALL = {one.name: {"steady": 1.0, "grain": 0.5}.get(one.name, True) for one in TIME_FILTERS}
AMOUNTS = Amounts(flicker=0.03, offset=1.0, uneven=0.04, weave=0.6, scratches=1, grain=3.0)


def film(folder: Path, pix_fmt: str = "yuv420p", interlaced: bool = False) -> Path:
    """Write a damaged film with a cut and held pictures."""
    clean = pan(24, 64, 96, (1, 1)) + [p[::-1].copy() for p in pan(16, 64, 96, (1, 0))]
    pictures = damage(clean, AMOUNTS, 6, [0] * 24 + [1] * 16).damaged
    pictures[8] = pictures[9]
    pictures[30:33] = [pictures[30]] * 3
    return write_film(folder / "film.mkv", pictures, pix_fmt, interlaced)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pix_fmt", "changes"),
    [("yuv420p", {}), ("yuv420p10le", {}), ("yuv420p", {"deinterlace": "bwdif"})],
    ids=["8 bits", "10 bits", "deinterlaced"],
)
@pytest.mark.parametrize("names", [*([one.name] for one in TIME_FILTERS), list(ALL)], ids=lambda names: "+".join(names))
def test_chunks_of_any_size_give_the_same_frames(
    names: list[str], pix_fmt: str, changes: dict[str, str], tmp_path: Path
) -> None:
    """In 1, 3 and 10 chunks every frame has the same bits, and the same record."""
    source = film(tmp_path, pix_fmt, interlaced=bool(changes))
    spec = msgspec.structs.replace(SPEC, **changes, **{name: ALL[name] for name in names})
    whole, expected = in_chunks(source, spec, 100, tmp_path / "whole")
    assert len(whole.results) == 1
    for size in (13, 4):
        parts, found = in_chunks(source, spec, size, tmp_path / str(size))
        assert len(parts.results) >= 3
        assert found == expected
        for name in names:
            assert [v for r in parts.results for v in r.record[name]] == whole.results[0].record[name]  # type: ignore[attr-defined]
    _, plain = in_chunks(source, msgspec.structs.replace(SPEC, **changes), 100, tmp_path / "off")
    assert plain != expected
    assert whole.index.time_context == sum(one.context for one in TIME_FILTERS if one.name in names)
    assert whole.index.time_filters == tuple(one.done for one in TIME_FILTERS if one.name in names)


@pytest.mark.parametrize("one", TIME_FILTERS, ids=lambda one: one.name)
def test_the_job_says_and_records_what_was_done(one: object, tmp_path: Path) -> None:
    """One sentence for the film, whatever its chunks, and an entry for each frame in the record; none where it is off."""
    source = film(tmp_path)
    name = one.name  # type: ignore[attr-defined]
    spec = msgspec.structs.replace(SPEC, **{name: ALL[name]})
    for size in (100, 13):
        done, _ = in_chunks(source, spec, size, tmp_path / str(size))
        (said,) = merged(note for chunk in done.results for note in chunk.notes)
        assert f"--{name}" in said
        assert sum(len(chunk.record[name]) for chunk in done.results) == 40  # type: ignore[arg-type]
    off, _ = in_chunks(source, SPEC, 100, tmp_path / "off")
    assert not off.results[0].notes
    assert name not in off.results[0].record


def test_notes_do_not_depend_on_where_chunks_are_cut() -> None:
    """Counted notes have the order of their first frames, whichever chunk has them."""
    whole = ["4 frames from 13 on are levelled", "not carried: captions", "20 frames from 0 on are steadied"]
    cut = [
        ["10 frames from 0 on are steadied", "not carried: captions"],
        ["4 frames from 13 on are levelled", "10 frames from 10 on are steadied"],
    ]
    assert merged(note for chunk in cut for note in chunk) == merged(whole)
    assert merged(whole)[-1] == "not carried: captions"


def test_fields_are_not_mixed(tmp_path: Path) -> None:
    """A film that stays interlaced cannot be moved by parts of a row: the option is refused before the work."""
    source = film(tmp_path, interlaced=True)
    spec = msgspec.structs.replace(SPEC, stabilise=True)
    with pytest.raises(BadInput, match="--stabilise would mix the fields"):
        in_chunks(source, spec, 100, tmp_path / "kept")
    done, _ = in_chunks(source, msgspec.structs.replace(spec, deinterlace="bwdif"), 100, tmp_path / "whole")
    assert done.index.deinterlace


def test_the_context_is_that_of_all_filters_together() -> None:
    """Filters that are not asked for cost no frame."""
    assert context_of(SPEC) == 0
    assert asked(SPEC) == ()
    everything = msgspec.structs.replace(SPEC, **ALL)
    assert asked(everything) == TIME_FILTERS
    assert context_of(everything) == sum(one.context for one in TIME_FILTERS)
