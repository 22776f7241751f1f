"""A film that was refused is retried beside an image that failed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import BadInput
from contract.job import Spec
from contract.settings import Settings
from testkit.clips import make_film
from testkit.stepped import Stepped, stepped

_SEEDS = itertools.count(980)
SPEC = Spec(model="identity", codec="ffv1", container="mkv", image_format="png")


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(settings) as made:
        yield made


def picture(path: Path) -> Path:
    """Write a picture of noise that no other test has."""
    pixels = np.random.default_rng(next(_SEEDS)).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_refused_film_is_retried_beside_an_image_that_fails(
    cluster: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a mixed job the film was refused and an image cannot be enhanced: the retry delivers the film, and the image fails again."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    make_film(folder / "film.mp4", 10, seed=next(_SEEDS))
    picture(folder / "broken.png")

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
