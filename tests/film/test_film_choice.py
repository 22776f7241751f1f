"""Films with several pictures: one is restored, all are named, and options choose another."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.job import Item, Spec
from orchestrator.ingest.film import plan_film
from testkit.materials.catalog import by_name
from testkit.materials.in_process import restore


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("two-programs", {}, (160, 112)),
        ("two-programs", {"program": 1}, (96, 64)),
        ("two-programs", {"video_stream": 0}, (96, 64)),
        ("two-angles", {"video_stream": 0}, (96, 64)),
        ("two-angles", {"video_stream": 1}, (160, 112)),
    ],
)
def test_the_largest_or_the_chosen_picture_is_restored(
    name: str, options: dict[str, int], size, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    """Without an option the largest picture is the film; --program and --video-stream name another."""
    material = by_name(name)
    source = tmp_path / f"film.{material.suffix}"
    source.write_bytes(material.make())
    done = restore(source, "result.mkv", Spec(model="identity", codec="ffv1", **options), tmp_path)
    assert (done.index.width, done.index.height) == size
    assert sum(r.frames for r in done.results) == 48
    assert any("choose with --video-stream N" in note for note in done.notes)


@pytest.mark.parametrize(
    ("options", "words"), [({"video_stream": 7}, "takes 0, 1 here"), ({"program": 3}, "no programs")]
)
def test_a_picture_that_is_not_there_is_refused(options: dict[str, int], words: str, tmp_path: Path) -> None:
    """A stream or program that the file lacks is an error that names those it has."""
    source = tmp_path / "film.mkv"
    source.write_bytes(by_name("two-angles").make())
    item = Item(0, "video", "film.mkv", "film.mkv", "0" * 64, source.stat().st_size)
    with source.open("rb") as file, pytest.raises(UsageError, match=words):
        plan_film(file, item, Spec(model="identity", **options), 1)
