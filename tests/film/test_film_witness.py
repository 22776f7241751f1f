"""Films that are restored rightly and look it least: no witness takes the lowest quality of an encoder for a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.job import Codec, Spec
from testkit.clips import make_film
from testkit.materials.catalog import by_name
from testkit.materials.in_process import restore


@pytest.mark.parametrize(("codec", "crf"), [("x264", 51), ("x265", 51), ("svtav1", 63)])
@pytest.mark.parametrize("film", ["drawn", "texture"])
def test_the_lowest_quality_is_delivered(film: str, codec: Codec, crf: int, tmp_path: Path) -> None:
    """Encoders freeze and smear small moving pictures there; every frame was compared, and the film is delivered."""
    source = tmp_path / "film.mp4"
    if film == "drawn":
        source.write_bytes(by_name("h264-closed-gop").make())
    else:
        make_film(source, 48, (160, 96))
    done = restore(source, "result.mkv", Spec(model="identity", codec=codec, chunk_frames=24, crf=crf), tmp_path)
    assert done.witnessed["frames_compared"] == done.index.frames == 48
