"""Mask films: what filters over time changed, as chunks of any size write it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from contract.job import Spec
from contract.masks import FILLED, MOST
from contract.time_filters import DEFLICKER, DIRT, SCRATCHES, TIME_FILTERS
from media.columns import unpack
from testkit.film_damage import Amounts, damage, pan
from testkit.filtered import in_chunks, write_film
from testkit.materials.in_process import restore
from workers.film.masks import changed

SPEC = Spec(model="identity", codec="ffv1", masks=True)
ALL = {one.name: {"steady": 1.0, "grain": 0.5}.get(one.name, True) for one in TIME_FILTERS}
AMOUNTS = Amounts(flicker=0.03, offset=1.0, weave=0.6, scratches=1, grain=3.0, dust=2.0)


def film(folder: Path, pix_fmt: str = "yuv420p", amounts: Amounts = AMOUNTS) -> Path:
    """Write a damaged film of 22 frames."""
    return write_film(folder / "film.mkv", damage(pan(22, 64, 96, (1, 1)), amounts, 6).damaged, pix_fmt)


def read(data: bytes, folder: Path) -> list[tuple[Fraction, npt.NDArray[np.uint8]]]:
    """Return times and frames of a film as they are stored."""
    path = folder / "read.mkv"
    path.write_bytes(data)
    with av.open(str(path)) as container:
        (stream,) = container.streams
        frames = [frame for frame in container.decode(stream) if isinstance(frame, av.VideoFrame)]
        base = Fraction(stream.time_base or 1)
        return [(f.pts * base, np.asarray(f.to_ndarray(), dtype=np.uint8)) for f in frames if f.pts is not None]


@pytest.mark.parametrize(
    ("names", "pix_fmt", "sizes"),
    [(list(ALL), "yuv420p", {8: 3}), (["dirt", "scratches"], "yuv420p10le", {8: 3, 2: 10})],
    ids=["all filters", "filled, 10 bits"],
)
def test_chunks_of_any_size_give_the_same_masks(
    names: list[str], pix_fmt: str, sizes: dict[int, int], tmp_path: Path
) -> None:
    """In 1, 3 and 10 chunks a mask film has the same bytes, with a frame of the source's size at each of its times."""
    source = film(tmp_path, pix_fmt)
    spec = msgspec.structs.replace(SPEC, **{name: ALL[name] for name in names})
    whole, _ = in_chunks(source, spec, 100, tmp_path / "whole")
    masks = read(whole.masks, tmp_path)
    assert [time for time, _ in masks] == [int(t) * Fraction(*whole.index.time_base) for t in unpack(whole.index.pts)]
    assert {mask.shape for _, mask in masks} == {(64, 96)}
    values = set(np.unique([mask for _, mask in masks]).tolist())
    assert {0, *FILLED.values()} <= values
    assert any(0 < value <= MOST for value in values) == ("deflicker" in names)
    for size, least in sizes.items():
        parts, _ = in_chunks(source, spec, size, tmp_path / str(size))
        assert len(parts.results) >= least
        assert parts.masks == whole.masks
    plain, _ = in_chunks(source, msgspec.structs.replace(spec, masks=False), 100, tmp_path / "off")
    assert plain.data == whole.data
    assert not plain.masks


def test_masks_of_dirt_are_the_pixels_that_were_filled(tmp_path: Path) -> None:
    """With `identity`, exactly the pixels of the result that differ from the source are 255, and all others 0."""
    source = film(tmp_path, "yuv444p", Amounts(grain=1.0, dust=3.0))
    done = restore(source, "out.mkv", msgspec.structs.replace(SPEC, dirt=True), tmp_path)
    before, after = (read(data, tmp_path) for data in (source.read_bytes(), done.data))
    masks = read(done.masks, tmp_path)
    assert len(before) == len(after) == len(masks) == 22
    found = 0
    for (_, old), (_, new), (_, mask) in zip(before, after, masks, strict=True):
        differs = (old.reshape(3, 64, 96) != new.reshape(3, 64, 96)).any(axis=0)
        assert np.array_equal(mask, np.where(differs, FILLED[DIRT.name], 0))
        found += int(differs.sum())
    assert found > 100


def test_unchanged_frames_are_black_and_grain_is_not_shown(tmp_path: Path) -> None:
    """A clean film gives a frame of zeros for each frame, and --grain, whose work is put back, changes no mask."""
    source = write_film(tmp_path / "film.mkv", pan(12, 64, 96, (1, 0)))
    done = restore(source, "out.mkv", msgspec.structs.replace(SPEC, dirt=True, grain=0.5), tmp_path)
    masks = read(done.masks, tmp_path)
    assert len(masks) == 12
    assert not any(mask.any() for _, mask in masks)


def frame_of(planes: list[npt.NDArray[np.uint16]], pix_fmt: str) -> av.VideoFrame:
    """Make a frame of 10 bits from its code values."""
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        lines = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        lines[:, : values.shape[1]] = values
        plane.update(lines.tobytes())
    return frame


def test_values_are_changes_on_the_scale_of_8_bits() -> None:
    """Of 10 bits four steps are one, rounded up; a chroma sample is that of its pixels; what is filled has its own value."""
    old = [np.full((5, 7), 400, np.uint16), np.full((3, 4), 512, np.uint16), np.full((3, 4), 512, np.uint16)]
    new = [plane.copy() for plane in old]
    new[0][1, 2] += 1
    new[0][0, 0] -= 9
    new[0][4, 6] += 600
    new[1][1, 0] += 20
    before, after = (frame_of(planes, "yuv420p10le") for planes in (old, new))
    expected = np.zeros((5, 7), np.uint8)
    expected[2:4, 0:2] = 5
    expected[1, 2], expected[0, 0], expected[4, 6] = 1, 3, MOST
    assert np.array_equal(changed(before, after, DEFLICKER), expected)
    for one in (DIRT, SCRATCHES):
        assert np.array_equal(changed(before, after, one), np.where(expected, FILLED[one.name], 0))
