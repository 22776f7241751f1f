"""The same materials through the whole running system: Redis, S3, an orchestrator and a Celery worker."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from testkit.cluster import rig
from testkit.materials.catalog import MATERIALS
from testkit.materials.outcomes import system


@pytest.mark.timeout(1500)  # some 140 films through one worker
def test_every_material_through_the_system() -> None:
    """Samples, times, streams and tags agree with the source, or the difference was said, or the source refused."""
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        with rig(place, workers=1, lease_ttl_s=30.0) as r:
            outcomes = system(r, MATERIALS, place)
    wrong = {
        m.name: (o.refused, o.problems, o.said) for m in MATERIALS if not (o := outcomes[m.name]).as_expected(m.expect)
    }
    assert wrong == {}
