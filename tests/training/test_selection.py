"""The sources that a run uses: pairs that fit, no duplicates, films divided by shot, sets fixed by hash."""

from __future__ import annotations

import re
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data

from contract.errors import BadInput, UsageError
from training.data.registration import register
from training.data.selection import Selection
from training.data.sources import Source
from training.degrade.apply import degrade
from training.degrade.damage_file import GENERIC


def sources(folder: Path) -> list[Source]:
    return [Source(str(path), path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def high() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:400, 60:460])


@pytest.mark.parametrize("seed", range(3))
def test_true_pairs_are_accepted(seed: int, high: np.ndarray) -> None:
    """A picture and its degraded copy, with the paper's damage, are found to lie less than a quarter of a pixel apart."""
    assert np.hypot(*register(degrade(high, GENERIC.draw(seed), 2), high, 2)) < 0.25


@pytest.mark.parametrize("move", [1, 2, 3, -2, 8])
def test_a_shift_of_parts_of_a_pixel_is_measured(move: int, high: np.ndarray) -> None:
    """A pair shifted by n high-resolution pixels is n/4 low-resolution pixels apart: measured to 0.05, refused from 0.35 on."""
    low = cv2.resize(high, (100, 100), interpolation=cv2.INTER_AREA)
    moved = np.roll(high, move, 1)
    if abs(move) / 4 <= 0.35:
        assert register(low, moved, 4)[0] == pytest.approx(-move / 4, abs=0.05)
        return
    with pytest.raises(BadInput, match="shifted: ") as error:
        register(low, moved, 4)
    said = re.search(r"lies ([+-][0-9.]+) pixels right", str(error.value))
    assert said
    assert float(said[1]) == pytest.approx(-move / 4, abs=0.05)


def test_misfits_are_refused_by_name(high: np.ndarray) -> None:
    """Another scale, a zoom, a rotation and another picture are each refused with their own reason."""
    low = cv2.resize(high, (100, 100), interpolation=cv2.INTER_AREA)
    turned = cv2.warpAffine(low, cv2.getRotationMatrix2D((50, 50), 2.0, 1), (100, 100), borderMode=cv2.BORDER_REFLECT)
    zoomed = cv2.resize(low[2:-2, 2:-2], (100, 100), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(skimage.data.coffee()[:400, :400], (100, 100), interpolation=cv2.INTER_AREA)
    for picture, reason in (
        (low[:, :-5], "wrong scale"),
        (turned, "rotated|shifted"),
        (zoomed, "wrong scale or rotated"),
        (other, "no match"),
    ):
        with pytest.raises(BadInput, match=reason):
            register(np.ascontiguousarray(picture), high, 4)


def test_duplicates_and_unreadable_files_are_left_out_with_their_reason(clean: Path, tmp_path: Path) -> None:
    """A copy under another name and format, a damaged file and a small one are listed; the rest is used."""
    for path in clean.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    cv2.imwrite(str(tmp_path / "zz-copy.jpg"), cv2.imread(str(clean / "cat.png")), [cv2.IMWRITE_JPEG_QUALITY, 90])
    (tmp_path / "zz-broken.png").write_bytes((clean / "cat.png").read_bytes()[:500])
    cv2.imwrite(str(tmp_path / "zz-small.png"), np.zeros((20, 20, 3), np.uint8))
    chosen = Selection(2, 64)
    chosen.add_clean(sources(tmp_path))
    reasons = {Path(left.name).name: left.reason for left in chosen.left_out}
    assert len(chosen.pictures) == 6
    assert "shows the same" in reasons["zz-copy.jpg"]
    assert "20x20" in reasons["zz-small.png"]
    assert set(reasons) == {"zz-copy.jpg", "zz-broken.png", "zz-small.png"}


def test_the_sets_follow_from_the_bytes_alone(clean: Path, tmp_path: Path) -> None:
    """Other names and another order give the same held-out pictures; each set has something in it."""
    first = Selection(2, 64)
    first.add_clean(sources(clean))
    for n, path in enumerate(sorted(clean.iterdir(), reverse=True)):
        (tmp_path / f"{n}.png").write_bytes(path.read_bytes())
    second = Selection(2, 64)
    second.add_clean(sources(tmp_path))
    held = [{p.sha256 for p in chosen.divided() if p.role == "held"} for chosen in (first, second)]
    assert held[0] == held[1]
    assert len(held[0]) == 2


def test_films_are_divided_by_shot(tmp_path: Path) -> None:
    """Neighbouring frames are taken from every shot, and no shot is in both sets."""
    path = tmp_path / "film.mkv"
    shots = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for picture in shots:
            for n in range(26):
                part = np.ascontiguousarray(picture[n : n + 240, n : n + 320][::2, ::2])
                film.mux(stream.encode(av.VideoFrame.from_ndarray(part, "rgb24")))
        film.mux(stream.encode())
    chosen = Selection(2, 64)
    chosen.add_clean([Source(str(path), path)])
    divided = chosen.divided()
    assert [p.frame for p in divided[:4]] == [0, 1, 24, 25]
    assert len({p.group for p in divided}) == 4
    roles = {group: {p.role for p in divided if p.group == group} for group in {p.group for p in divided}}
    assert all(len(both) == 1 for both in roles.values())
    assert sum(both == {"held"} for both in roles.values()) == 1


def test_one_picture_is_too_few(clean: Path) -> None:
    """A run needs something to train on and something else to be checked on."""
    chosen = Selection(2, 64)
    chosen.add_clean(sources(clean)[:1])
    with pytest.raises(UsageError, match="too few"):
        chosen.divided()
