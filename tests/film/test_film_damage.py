"""Damaged films: exact or said, strict or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import EnhanceError
from contract.job import Spec
from testkit.materials.catalog import by_name
from testkit.materials.corruption import run_case
from testkit.materials.damage import scrambled
from testkit.materials.in_process import restore


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_seeded_corruptions_are_exact_or_said_or_refused(first: int, tmp_path: Path) -> None:
    """No corrupted film of any kind comes out silently different or crashes the pipeline (`benchmarks.fidelity.fuzz` runs 500)."""
    cases = [run_case(n, tmp_path) for n in range(first, first + 20)]
    assert [c for c in cases if c.state in ("silent", "broken")] == []
    assert sum(c.state in ("exact", "flagged") for c in cases) >= 12


def _damaged(folder: Path) -> Path:
    path = folder / "film.ts"
    path.write_bytes(scrambled(by_name("h264-open-gop-ts").make(), 3, spots=40))
    return path


def test_damaged_spans_are_named(tmp_path: Path) -> None:
    """Broken pictures, and those decoded from them, are spans of positions with a reason, and the rest is delivered."""
    done = restore(_damaged(tmp_path), "result.mkv", Spec(model="identity", codec="ffv1", chunk_frames=12), tmp_path)
    assert done.damage
    frames = done.index.frames
    assert all(0 <= first < frames and first + count <= frames and reason for first, count, reason in done.damage)
    assert sum(r.frames for r in done.results) > frames // 2


def test_strict_turns_damage_into_failure(tmp_path: Path) -> None:
    """--strict delivers no damaged film."""
    with pytest.raises(EnhanceError, match="--strict"):
        restore(
            _damaged(tmp_path), "r.mkv", Spec(model="identity", codec="ffv1", chunk_frames=12, strict=True), tmp_path
        )
