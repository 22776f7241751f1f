"""Filters over time scored by the record of a degraded film, as docs/film-time.md tells."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from contract.job import Spec
from testkit.film_damage import pan
from testkit.filtered import Pixels, in_chunks, write_film
from training.degrade.__main__ import degrade_file
from training.degrade.damage_file import read_damage
from training.degrade.frame_draw import cover, marks, profile, read_frames

DOCS = Path(__file__).parents[2] / "docs" / "film-time.md"
SIZE = 120, 160


def decoded(path: Path) -> list[Pixels]:
    """Return the frames of a film as RGB."""
    with av.open(str(path)) as film:
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in film.decode(video=0)]


@pytest.mark.slow
def test_dirt_and_scratches_are_scored_by_the_record(tmp_path: Path) -> None:
    """The damage file of the docs makes a film whose record tells what `--dirt` and `--scratches` find, and what they change beside it."""
    (tmp_path / "film.toml").write_text(DOCS.read_text().split("```toml\n")[1].split("```")[0])
    source = write_film(tmp_path / "clean.mkv", pan(24, *SIZE))
    entry = degrade_file(source, tmp_path, 7, read_damage(tmp_path / "film.toml"), 1.0)
    copy = tmp_path / entry.copy
    spec = Spec(model="identity", codec="ffv1", dirt=True, scratches=True)
    in_chunks(copy, spec, 100, tmp_path / "made")
    clean, damaged, made = decoded(source), decoded(copy), decoded(tmp_path / "made" / "out.mkv")
    specks, lines, wrong = [], [], []
    frames = list(read_frames(tmp_path / entry.frames))
    for drawn, truth, before, after in list(zip(frames, clean, damaged, made, strict=True))[2:-2]:
        changed = np.abs(after.astype(int) - before).max(-1) > 2
        seen = np.abs(before.astype(int) - truth).mean(-1) > 20
        covers = [cover(speck, SIZE) for speck in drawn.specks]
        line = np.max([np.abs(profile(scratch, SIZE[1])) for scratch in drawn.scratches], axis=0)
        specks += [changed[core].mean() > 0.5 for one in covers if (core := (one > 0.5) & seen).sum() >= 3]
        lines += [changed[:, round(scratch.column)].mean() > 0.5 for scratch in drawn.scratches]
        dirty = (marks(drawn, SIZE)[0] < 1).astype(np.uint8)
        beside = (cv2.dilate(dirty, np.ones((7, 7), np.uint8)) == 0) & (line < 1)
        wrong.append(changed[beside].mean())
    assert len(specks) > 30
    assert np.mean(specks) > 0.75
    assert len(lines) >= 20
    assert np.mean(lines) > 0.8
    assert np.mean(wrong) < 0.001
    report = msgspec.json.decode((tmp_path / entry.frames).read_bytes().splitlines()[0])
    assert set(report) == {"frame", "shot", "shift", "gain", "offset", "grain", "grain_size", "specks", "scratches"}
