"""Steadied films: the same in any chunks, calmer where frames agree, and untouched where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from contract.film import HELD, STEADY_REACH, Colour
from contract.job import Spec
from media.alpha import alpha_of
from media.frame_changes import merged
from testkit.clips import fingerprint
from testkit.materials.in_process import Restored, restore
from testkit.natural_clips import photograph
from workers.film.frame_marks import Clock
from workers.film.steady import Steadier

Pixels = npt.NDArray[np.uint8]

SPEC = Spec(model="identity", codec="ffv1", chunk_frames=100, steady=1.0)
COLOUR = Colour("bt601", False)


def grainy(clean: list[Pixels], sigma: float = 6.0) -> list[Pixels]:
    rng = np.random.default_rng(4)
    return [np.clip(np.rint(c + rng.normal(0, sigma, c.shape)), 0, 255).astype(np.uint8) for c in clean]


def panned(count: int, height: int = 96, width: int = 128) -> list[Pixels]:
    """Pictures that move by 3 and 2 pixels a frame."""
    wide = photograph(height + 2 * count, width + 3 * count)
    return [np.ascontiguousarray(wide[2 * n : 2 * n + height, 3 * n : 3 * n + width]) for n in range(count)]


def frames(pictures: list[Pixels], pix_fmt: str = "yuv444p") -> Iterator[tuple[int, av.VideoFrame]]:
    for n, picture in enumerate(pictures):
        yield n, av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)


def steadied(pictures: list[Pixels], strength: float = 1.0, pix_fmt: str = "yuv444p") -> tuple[list[Pixels], Steadier]:
    """Return the steadied pictures as RGB, and the filter."""
    steadier = Steadier(strength, COLOUR, Clock())
    made = steadier.filtered(frames(pictures, pix_fmt))
    return [frame.to_ndarray(format="rgb24") for _, frame in made], steadier


def unchanged(pictures: list[Pixels], pix_fmt: str = "yuv444p") -> list[Pixels]:
    return [frame.to_ndarray(format="rgb24") for _, frame in frames(pictures, pix_fmt)]


def change(pictures: list[Pixels]) -> float:
    return float(np.mean([np.abs(b.astype(float) - a).mean() for a, b in pairwise(pictures)]))


def psnr(picture: Pixels, truth: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((picture.astype(float) - truth) ** 2)))


def write(
    path: Path, pictures: list[Pixels], options: dict[str, str], codec: str = "libx264", pix_fmt: str = "yuv420p"
) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def result(film: Path, spec: Spec, folder: Path) -> tuple[Restored, list[str]]:
    """Restore with every witness; return the restoration and the hash of each frame."""
    folder.mkdir()
    done = restore(film, "film.mkv", spec, folder)
    path = folder / "out.mkv"
    path.write_bytes(done.data)
    return done, [picture for _, picture in fingerprint(path)]


@pytest.mark.parametrize(
    ("pix_fmt", "changes"),
    [("yuv420p", {}), ("yuv420p10le", {}), ("yuv420p", {"deinterlace": "bwdif"})],
    ids=["8 bits", "10 bits", "deinterlaced"],
)
@pytest.mark.slow
def test_chunks_of_any_size_give_the_same_frames(pix_fmt: str, changes: dict[str, str], tmp_path: Path) -> None:
    """A moving film with grain, a cut and held pictures: in 1, 3 and 10 chunks every frame has the same bits."""
    clean = panned(14) + [p[::-1].copy() for p in panned(8)] + [panned(1)[0]] * 5
    pictures = grainy(clean)
    pictures[8] = pictures[9]
    options = {"crf": "20", "g": "7", "bf": "2"} | ({"flags": "+ildct"} if changes else {})
    film = write(tmp_path / "film.mkv", pictures, options, pix_fmt=pix_fmt)
    spec = msgspec.structs.replace(SPEC, **changes)
    whole, expected = result(film, spec, tmp_path / "whole")
    assert len(whole.results) == 1
    for size in (9, 3):
        parts, found = result(film, msgspec.structs.replace(spec, chunk_frames=size), tmp_path / str(size))
        assert len(parts.results) > 2
        assert found == expected
    off, plain = result(film, msgspec.structs.replace(spec, steady=0.0), tmp_path / "off")
    assert plain != expected
    assert whole.index.context == off.index.context + STEADY_REACH + HELD


@pytest.mark.slow
def test_the_job_says_what_was_steadied(tmp_path: Path) -> None:
    """One sentence for the film, whatever its chunks, and a number for each frame in the record; none where it is off."""
    film = write(tmp_path / "film.mkv", grainy(panned(12)), {"crf": "16"})
    for size in (100, 4):
        done, _ = result(film, msgspec.structs.replace(SPEC, chunk_frames=size), tmp_path / str(size))
        (said,) = merged(note for chunk in done.results for note in chunk.notes)
        assert said.startswith("12 frames from 0 on are steadied")
        gains = [gain for chunk in done.results for gain in chunk.record["steady"]]  # type: ignore[attr-defined]
        assert len(gains) == 12
        assert min(gains) > 0.5
    off, _ = result(film, msgspec.structs.replace(SPEC, steady=0.0), tmp_path / "off")
    assert not off.results[0].notes
    assert "steady" not in off.results[0].record


def test_grain_is_calmed_and_the_picture_gains() -> None:
    """A still picture: a fourth of the change from frame to frame, and nearer to the truth; half of it at half strength."""
    clean = [panned(1)[0]] * 9
    pictures = grainy(clean)
    found, steadier = steadied(pictures)
    base = unchanged(pictures)
    assert change(found[2:-2]) < change(base[2:-2]) / 4
    assert psnr(found[4], clean[4]) > psnr(base[4], clean[4]) + 3
    weak, _ = steadied(pictures, 0.3)
    assert change(found[2:-2]) < change(weak[2:-2]) < change(base[2:-2])
    assert set(steadier.found) == set(range(9))


def test_what_moves_is_not_smeared() -> None:
    """A pan, and a thing that crosses it: no frame is further from the truth than it was."""
    clean = panned(9)
    for n, picture in enumerate(clean):
        picture[30:60, 8 * n : 8 * n + 30] = (230, 40, 40)
    pictures = grainy(clean)
    found, _ = steadied(pictures)
    for made, base, truth in zip(found, unchanged(pictures), clean, strict=True):
        assert psnr(made, truth) >= psnr(base, truth)


def test_a_cut_is_a_wall() -> None:
    """Nothing of another shot enters: frames at a cut are as near to the truth as without it."""
    one, two = [panned(1)[0]] * 5, [panned(9)[8][:, ::-1].copy()] * 5
    pictures = grainy(one + two)
    found, _ = steadied(pictures)
    alone, _ = steadied(pictures[:5])
    assert psnr(found[4], one[0]) > psnr(alone[4], one[0]) - 0.1


def test_every_changed_frame_is_recorded() -> None:
    """Frames of which so little agrees that the record would show 0.0 neighbours are left alone."""
    pictures = [np.random.default_rng(n).integers(0, 256, (48, 64, 3)).astype(np.uint8) for n in range(20)]
    made, steadier = steadied(pictures)
    plain = unchanged(pictures)
    changed = {n for n, (a, b) in enumerate(zip(made, plain, strict=True)) if not np.array_equal(a, b)}
    assert changed <= set(steadier.found)
    assert min(steadier.found.values()) >= 0.001


@pytest.mark.parametrize("held", [2, 3, HELD])
def test_held_pictures_stay_held(held: int) -> None:
    """Grainy drawings that are held for some frames stay equal to the bit within each hold."""
    drawings = grainy(panned(5))
    pictures = [drawing for drawing in drawings for _ in range(held)]
    found, steadier = steadied(pictures)
    assert steadier.found
    for first in range(0, len(found), held):
        assert all(np.array_equal(found[first], found[first + n]) for n in range(held))


def test_what_is_still_to_the_bit_stays_so() -> None:
    """Long holds and clean still film are not touched."""
    still = [panned(1)[0]] * 3 + [panned(2)[1]] * (HELD + 3)
    found, steadier = steadied(still)
    assert all(map(np.array_equal, found[3:], unchanged(still)[3:]))
    assert not set(steadier.found) & set(range(3, len(still)))
    same, _ = steadied([panned(1)[0]] * HELD)
    assert all(map(np.array_equal, same, unchanged([panned(1)[0]] * HELD)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 33), (64, 8)])
@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv411p", "nv12", "p010le", "yuv444p12le", "gbrp", "rgb24", "gray", "rgba", "yuva420p"]
)
def test_every_layout_of_pixels_stays_what_it_is(pix_fmt: str, size: tuple[int, int]) -> None:
    """Formats, sizes and alpha are kept, also in pictures of one pixel."""
    pictures = grainy([np.full((*size, 3), 100, np.uint8)] * 5)
    steadier = Steadier(1.0, COLOUR, Clock())
    made = [frame for _, frame in steadier.filtered(frames(pictures, pix_fmt))]
    assert [(f.format.name, f.height, f.width) for f in made] == [(pix_fmt, *size)] * 5
    if pix_fmt in ("rgba", "yuva420p"):
        assert all((alpha_of(frame) == 255).all() for frame in made)
