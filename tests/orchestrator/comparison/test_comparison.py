"""Evidence of change: maps, sheets and plots."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from contract.errors import VerifyError
from orchestrator.comparison.before_after import pairs
from orchestrator.comparison.change_map import change
from orchestrator.comparison.contact_sheet import write_sheet
from orchestrator.comparison.plots import MOST, durations
from orchestrator.comparison.preview import pick
from orchestrator.result_record import ChunkFacts
from testkit.images import smooth


def test_a_map_shows_where_and_how_much(changed: tuple[Path, Path]) -> None:
    """The map is dark where plain resampling would have done the same, bright where detail was put in, and counts it."""
    (pair,) = pairs(*changed, count=1)
    found = change(pair)
    assert found.share == pytest.approx(40 * 40 / (400 * 320), rel=0.15)
    assert found.mean < 3
    assert found.most > 100
    left, top = found.hottest
    assert left <= 320 <= left + 128
    assert top <= 220 <= top + 128
    heat = found.map.numpy()
    assert heat.shape == (320, 400, 3)
    assert heat[220, 320].sum() > 600
    assert heat[50, 50].sum() < 60


def test_a_sheet_has_three_columns_and_two_rows(changed: tuple[Path, Path], tmp_path: Path) -> None:
    """Nearest, Lanczos and enhanced stand side by side, and below them the detail that changed most."""
    write_sheet(list(pairs(*changed, count=1)), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] > 3 * 400
    white = (pixels[:, -430:] >= 250).all(-1).mean()
    assert 0.02 < white < 0.9
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize(("mode", "kind"), [("L", np.uint8), ("RGBA", np.uint8), ("I;16", np.uint16)])
def test_pictures_of_every_kind_can_be_compared(tmp_path: Path, mode: str, kind: type) -> None:
    """Grey, alpha and 16 bits are shown as they look, and the same picture shows no change."""
    shape = (60, 80, 4) if mode == "RGBA" else (60, 80)
    Image.fromarray((np.ones(shape) * np.iinfo(kind).max * 0.6).astype(kind)).save(tmp_path / "a.png")
    (pair,) = pairs(tmp_path / "a.png", tmp_path / "a.png", count=1)
    assert pair.before.bands == 3
    assert change(pair).mean == 0
    assert not pair.before.hasalpha()  # or a page would shine through


def film(path: Path, size: int, rate: Fraction) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1", "g": "12"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for n in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 4 * n, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_the_same_moments_of_a_film_are_compared(tmp_path: Path) -> None:
    """Frames are paired by time, whatever their containers round it to."""
    before, after = (
        film(tmp_path / "a.mp4", 64, Fraction(24000, 1001)),
        film(tmp_path / "b.mkv", 128, Fraction(24000, 1001)),
    )
    found = list(pairs(before, after, count=4))
    assert len(found) == 4
    for pair in found:
        assert abs(pair.before.avg() - pair.after.avg()) < 2.5
    levels = [pair.before.avg() for pair in found]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 100
    Image.fromarray(smooth(8, 8)).save(tmp_path / "c.png")
    with pytest.raises(VerifyError, match=r"a\.mp4"):
        list(pairs(before, tmp_path / "c.png", count=1))


def test_frames_for_a_preview_carry_their_pixels_alone(tmp_path: Path) -> None:
    """A frame is written as it is decoded, without a density, whose change with the scale would be noted as if it mattered."""
    source = film(tmp_path / "a.mp4", 64, Fraction(24))
    (path,) = pick(source, 1, tmp_path)
    with av.open(source) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with Image.open(path) as image:
        assert image.info == {"aspect": (1, 1)}
        assert any((np.asarray(image) == frame).all() for frame in frames[24:27])


def test_plots_of_huge_jobs_stay_small() -> None:
    """100,000 chunks are drawn as at most MOST bars, and the page says so."""
    many = [ChunkFacts(n, "1-0", "w", seconds={"whole": 1.0 + n % 7}) for n in range(100_000)]
    drawn = durations(many)
    assert drawn.count("<rect") <= MOST
    assert "of 100000 chunks" in drawn
