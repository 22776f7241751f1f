"""Chunks are joined only where their headers are equal."""

from __future__ import annotations

import io
from pathlib import Path

import av
import msgspec
import pytest

from contract.errors import VerifyError
from contract.film import Encoding, FilmIndex
from contract.job import Spec
from contract.settings import Settings
from orchestrator.assemble.concat import ChunkJoiner
from orchestrator.submission.submit import draft
from testkit.natural_clips import make_moving
from workers.film.encode import ChunkEncoder


def chunk(path: Path, encoding: Encoding, frames: list[av.VideoFrame]) -> io.BytesIO:
    """Encode `frames` as a worker does."""
    with ChunkEncoder(path, encoding) as encoder:
        for n, frame in enumerate(frames):
            encoder.write(n, frame)
    return io.BytesIO(path.read_bytes())


@pytest.fixture
def index(tmp_path: Path) -> FilmIndex:
    source = make_moving(tmp_path / "film.mp4", 4, (64, 48))
    return draft([source], Spec("identity", chunk_frames=2), Settings()).films[0].index


@pytest.mark.parametrize("option", [{"preset": "ultrafast"}, {"x264-params": "open-gop=0:ref=1"}])
def test_other_headers_are_refused(option: dict[str, str], index: FilmIndex, tmp_path: Path) -> None:
    """As of another card, driver or version: the chunk is named, with what to do. Equal ones pass."""
    with av.open(str(tmp_path / "film.mp4")) as film:
        first, second = (frames := list(film.decode(video=0)))[:2], frames[2:]
    own = index.encoding
    other = msgspec.structs.replace(own, options=own.options | option)
    with ChunkJoiner(index, [chunk(tmp_path / "a", own, first), chunk(tmp_path / "b", own, second)], None) as joined:
        assert len(list(joined)) == 4
    chunks = [chunk(tmp_path / "a", own, first), chunk(tmp_path / "b", other, second)]
    with (
        ChunkJoiner(index, chunks, None) as joined,
        pytest.raises(VerifyError, match="chunk 1 was encoded with other headers"),
    ):
        list(joined)
