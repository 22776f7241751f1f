"""Films by the encoder of an NVIDIA card. Skipped where there is none; H100, H200 and A100 have none either."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.job import Codec, Spec
from media.codecs import encodable
from media.encoder_trial import small, try_encoder
from media.nvenc import ENCODERS
from testkit.materials.check import compare
from testkit.materials.in_process import restore
from testkit.materials.write import Film, write


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [(codec, pix_fmt, suffix) for codec in ENCODERS for pix_fmt in encodable(codec) for suffix in ("mp4", "mkv")],
)
def test_chunks_of_a_card_join_without_a_seam(codec: Codec, pix_fmt: str, suffix: str, tmp_path: Path) -> None:
    """All frames with exact times and no decoder's complaint, the last chunk of one frame; the headers of two trials are equal."""
    trial = try_encoder(small(codec))
    if trial.problem:
        pytest.skip(f"{codec}: {trial.problem}")
    assert try_encoder(small(codec)) == trial
    data = write(Film("matroska", "ffv1", {"level": "3", "g": "1"}, frames=21, size=(320, 240), pix_fmt=pix_fmt))
    (tmp_path / "film.mkv").write_bytes(data)
    spec = Spec("identity", codec=codec, chunk_frames=10)
    done = restore(tmp_path / "film.mkv", f"result.{suffix}", spec, tmp_path)
    assert [c.count for c in done.index.chunks] == [10, 10, 1]
    assert compare(data, done.data, False, codec).problems == []
