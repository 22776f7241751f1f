"""Through RGB and back at the same size, over every matrix, range and depth."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from contract.job import Spec
from contract.settings import Settings
from testkit.materials.check import compare, pictures
from testkit.materials.in_process import restore
from testkit.materials.write import Film, write
from workers.generators.registry import load

MATRICES = {"bt601": 6, "bt709": 1, "bt2020": 9}


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_lanczos_at_scale_one_changes_nothing(matrix: str, full: bool, pix_fmt: str, tmp_path: Path) -> None:
    """--model lanczos -s 1 costs at most one code value, under 0.3 on average, and no tag."""
    tags = (2 if full else 1, MATRICES[matrix], 14 if matrix == "bt2020" else MATRICES[matrix], MATRICES[matrix])
    data = write(Film("matroska", "ffv1", {"level": "3"}, frames=6, pix_fmt=pix_fmt, size=(98, 66), colour=tags))
    (tmp_path / "film.mkv").write_bytes(data)
    spec = Spec(model="lanczos", codec="ffv1", scale=1, chunk_frames=4)
    done = restore(tmp_path / "film.mkv", "result.mkv", spec, tmp_path, load(spec, {}, Settings(device="cpu")))
    assert compare(data, done.data, lossless=False).problems == []
    errors = [
        np.abs(a.to_ndarray().astype(int) - b.to_ndarray().astype(int))
        for a, b in zip(_frames(data), _frames(done.data), strict=True)
    ]
    assert max(int(e.max()) for e in errors) <= 1
    assert np.mean([e.mean() for e in errors]) < 0.3


@pytest.mark.parametrize("pix_fmt", ["bgr0", "gbrp10le", "gbrp16le", "gray", "gray10le", "gray16le"])
def test_rgb_and_grey_pass_the_tensors_unchanged(pix_fmt: str, tmp_path: Path) -> None:
    """Films that are no YUV go through the network's path and back, in whatever arrangement their encoder wants."""
    (tmp_path / "film.mkv").write_bytes(
        write(Film("matroska", "ffv1", {"level": "3"}, frames=3, pix_fmt=pix_fmt, size=(99, 65)))
    )
    spec = Spec(model="lanczos", codec="ffv1", scale=1, chunk_frames=2)
    done = restore(tmp_path / "film.mkv", "result.mkv", spec, tmp_path, load(spec, {}, Settings(device="cpu")))
    before, after = (list(pictures(data)) for data in ((tmp_path / "film.mkv").read_bytes(), done.data))
    assert [p.crc for p in before] == [p.crc for p in after]


def test_sizes_are_rounded_to_even(tmp_path: Path) -> None:
    """Sides of formats with subsampled chroma are even(round(in * scale))."""
    (tmp_path / "film.mkv").write_bytes(write(Film("matroska", "ffv1", {"level": "3"}, frames=3, size=(98, 66))))
    for scale, size in ((2, (196, 132)), (3.5, (344, 232)), (0.5, (50, 34))):
        spec = Spec(model="lanczos", codec="ffv1", scale=scale)
        done = restore(tmp_path / "film.mkv", "result.mkv", spec, tmp_path, load(spec, {}, Settings(device="cpu")))
        frame = _frames(done.data)[0]
        assert (frame.width, frame.height) == size


def _frames(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(video=0))
