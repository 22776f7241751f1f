"""Alpha, palettes and small RGB formats pass a network: colours through it, alpha apart, or left out where it is opaque."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from contract.errors import Unsupported
from contract.job import Codec, Spec
from contract.settings import Settings
from media.alpha import alpha_of
from testkit.materials.draw import frame
from testkit.materials.headers import indexed
from testkit.materials.in_process import Restored, restore
from testkit.materials.write import Film, write
from workers.generators.registry import load


def _veiled(width: int, height: int, i: int, pix_fmt: str, seed: int) -> av.VideoFrame:
    """A frame whose alpha falls from left to right."""
    rgb = frame(width, height, i, "rgb24", seed).to_ndarray()
    alpha = np.tile(np.linspace(255, 10 + i, width).astype(np.uint8), (height, 1))
    return av.VideoFrame.from_ndarray(np.dstack([rgb, alpha]), format="rgba").reformat(format=pix_fmt)


def _opaque(width: int, height: int, i: int, pix_fmt: str, seed: int) -> av.VideoFrame:
    """A frame whose alpha is opaque everywhere."""
    return frame(width, height, i, "rgba", seed).reformat(format=pix_fmt)


def _restored(
    film: Film, suffix: str, codec: Codec, target: str, folder: Path, scale: float = 1
) -> tuple[bytes, Restored]:
    source = folder / f"film.{suffix}"
    source.write_bytes(write(film))
    spec = Spec(model="lanczos", scale=scale, codec=codec, chunk_frames=5)
    return source.read_bytes(), restore(
        source, f"result.{target}", spec, folder, load(spec, {}, Settings(device="cpu"))
    )


def _frames(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(
    ("film", "suffix", "codec", "target"),
    [
        (Film("mov", "qtrle", pix_fmt="argb", frames=8, picture=_veiled), "mov", "ffv1", "mkv"),
        (Film("mov", "png", pix_fmt="rgba", frames=8, picture=_veiled), "mov", "ffv1", "mkv"),
        (Film("mov", "prores_ks", {"profile": "4444"}, pix_fmt="yuva444p10le", frames=8, picture=_veiled), "mov", "ffv1", "mkv"),
        (Film("matroska", "ffv1", {"level": "3"}, pix_fmt="yuva420p", frames=8, picture=_veiled), "mkv", "ffv1", "mkv"),
        (Film("mov", "qtrle", pix_fmt="argb", frames=8, picture=_veiled), "mov", "prores", "mov"),
    ],
    ids=["qtrle", "png", "prores-4444", "yuva420p", "qtrle-to-prores"],
)  # fmt: skip
def test_alpha_passes_beside_the_network(film: Film, suffix: str, codec: Codec, target: str, tmp_path: Path) -> None:
    """At scale 1 colours and alpha come back as they were; alpha is put back on every frame."""
    data, done = _restored(film, suffix, codec, target, tmp_path)
    before, after = _frames(data), _frames(done.data)
    assert len(before) == len(after) == 8
    for a, b in zip(before, after, strict=True):
        tops = [
            float(
                2
                ** (
                    16 if "16" in f.format.name else 12 if "12" in f.format.name else 10 if "10" in f.format.name else 8
                )
                - 1
            )
            for f in (a, b)
        ]
        assert np.abs(alpha_of(a) / tops[0] - alpha_of(b) / tops[1]).max() < 0.008
        rgb = [f.reformat(format="rgb24").to_ndarray().astype(float) for f in (a, b)]
        assert np.abs(rgb[0] - rgb[1]).mean() < 3


def test_alpha_is_enlarged_with_the_picture(tmp_path: Path) -> None:
    """At scale 2 alpha has the result's size, and its gradient."""
    film = Film("mov", "qtrle", pix_fmt="argb", frames=4, picture=_veiled)
    _, done = _restored(film, "mov", "ffv1", "mkv", tmp_path, scale=2)
    alpha = alpha_of(_frames(done.data)[0])
    assert alpha.shape == (128, 192)
    assert (np.diff(alpha[64].astype(int)) <= 1).all()
    assert alpha[64, 0] > 250
    assert alpha[64, -1] < 20


def test_opaque_alpha_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """x264 takes no alpha: a film that is opaque throughout is restored with a note, a transparent one is refused."""
    opaque = Film("mov", "qtrle", pix_fmt="argb", frames=8, picture=_opaque)
    _, done = _restored(opaque, "mov", "x264", "mp4", tmp_path)
    assert any("is opaque throughout" in note for note in done.notes)
    assert sum(r.frames for r in done.results) == 8
    with pytest.raises(Unsupported, match="--codec ffv1"):
        _restored(Film("mov", "qtrle", pix_fmt="argb", frames=8, picture=_veiled), "mov", "x264", "mp4", tmp_path)


@pytest.mark.parametrize(
    ("film", "suffix"),
    [
        (Film("avi", "rawvideo", pix_fmt="pal8", frames=8, picture=indexed), "avi"),
        (Film("mov", "rawvideo", pix_fmt="rgb555be", frames=8), "mov"),
        (Film("avi", "rawvideo", pix_fmt="rgb555le", frames=8), "avi"),
        (Film("gif", "gif", pix_fmt="pal8", frames=8, picture=indexed), "gif"),
    ],
    ids=["pal8", "rgb555be", "rgb555le", "gif"],
)
@pytest.mark.parametrize(("codec", "target"), [("ffv1", "mkv"), ("x264", "mp4")])
def test_palettes_and_small_rgb_pass_a_network(
    film: Film, suffix: str, codec: Codec, target: str, tmp_path: Path
) -> None:
    """Formats of few colours are expanded without loss before the network."""
    data, done = _restored(film, suffix, codec, target, tmp_path)
    before, after = _frames(data), _frames(done.data)
    assert len(before) == len(after)
    if codec == "ffv1":
        pairs = [
            [f.reformat(format="rgb24").to_ndarray().astype(int) for f in pair]
            for pair in zip(before, after, strict=True)
        ]
        assert max(int(np.abs(a - b).max()) for a, b in pairs) <= 1
