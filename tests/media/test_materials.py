"""Frame-exact on every kind of film: what goes in comes out, or is said, or is refused; never silently different."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from benchmarks.fidelity import CHUNK_FRAMES, local, system
from benchmarks.fuzz import run_case
from benchmarks.materials.catalog import MATERIALS, Material
from benchmarks.rig import rig


@pytest.mark.parametrize("chunk_frames", CHUNK_FRAMES)
@pytest.mark.parametrize("material", MATERIALS, ids=lambda m: m.name)
def test_every_material_in_chunks(material: Material, chunk_frames: int, tmp_path: Path) -> None:
    """Samples, times, streams and tags of each material agree with its source, however it is cut."""
    outcome = local(material, tmp_path, chunk_frames)
    assert outcome.as_expected(material.expect), (outcome.refused, outcome.problems, outcome.said)


def test_every_material_through_the_system() -> None:
    """The same holds through Redis, S3 and a Celery worker, all materials in one go."""
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        with rig(place, workers=1, lease_ttl_s=30.0) as r:
            outcomes = system(r, MATERIALS, place)
    wrong = {
        m.name: (o.refused, o.problems, o.said) for m in MATERIALS if not (o := outcomes[m.name]).as_expected(m.expect)
    }
    assert wrong == {}


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_corrupted_films_are_exact_or_flagged(first: int, tmp_path: Path) -> None:
    """Seeded corruptions come out exact, flagged or refused; `python -m benchmarks.fuzz` runs 500."""
    cases = [run_case(number, tmp_path) for number in range(first, first + 10)]
    assert [c for c in cases if c.state in ("silent", "broken")] == []
