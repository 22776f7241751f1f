"""A film that was refused is retried beside an image that failed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from contract.errors import BadInput
from contract.job import Spec
from testkit.clips import make_film
from testkit.images import write_noise
from testkit.stepped import Stepped

_SEEDS = itertools.count(980)
SPEC = Spec(model="identity", codec="ffv1", container="mkv", image_format="png")


def test_a_refused_film_is_retried_beside_an_image_that_fails(
    cluster: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a mixed job the film was refused and an image cannot be enhanced: the retry delivers the film, and the image fails again."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    make_film(folder / "film.mp4", 10, seed=next(_SEEDS))
    write_noise(folder / "broken.png", next(_SEEDS))

    def fail(*_: object) -> None:
        raise BadInput("its pixels end early.")

    monkeypatch.setattr(cluster.worker._enhancement._images, "_enhance", fail)
    job = cluster.submit([folder], SPEC)
    cluster.acts.refusals = {1: "it needs more memory"}
    manifest = cluster.finish(job)
    assert {failure.name for failure in manifest.failures} == {"film.mp4", "broken.png"}
    cluster.acts.refusals = {}
    cluster.jobs.retry(job)
    manifest = cluster.finish(job)
    assert [failure.name for failure in manifest.failures] == ["broken.png"]
    assert [file.name for file in manifest.files] == ["film.mkv"]
