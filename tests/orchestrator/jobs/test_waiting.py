"""A job that waits names the jobs that it waits behind; one that is to do nothing waits for nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from stores.ledger import Ledger
from testkit.clips import make_film
from testkit.stepped import Stepped


@pytest.mark.parametrize("stopped", ["cancelled", "paused"])
def test_a_stopped_job_waits_behind_nothing(
    cluster: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    """The only worker is at another job: that one is named until the user stops this one."""
    other = "ab" * 8
    monkeypatch.setattr(Ledger, "workers", lambda _: {"w": {"job": other, "in_hand": 0}})
    job = cluster.submit([make_film(tmp_path / "film.mp4", 5, seed=len(stopped))])
    assert cluster.jobs.status(job).behind == (other,)
    cluster.jobs.control(job, **{stopped: True})
    assert cluster.jobs.status(job).behind == ()
