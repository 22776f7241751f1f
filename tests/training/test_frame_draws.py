"""The record of a degraded film's frames: complete, of each frame alone, and enough to draw the truth."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from contract.errors import BadInput
from testkit.clips import fingerprint
from testkit.film_damage import pan
from testkit.filtered import Pixels, write_film
from training.degrade.__main__ import Entry, degrade_file, run
from training.degrade.damage_file import Damage, write_damage
from training.degrade.draw import FilmDraw
from training.degrade.film_damage import Aged
from training.degrade.frame_draw import FrameDraw, Speck, cover, draw_frame, marks, profile, read_frames
from training.degrade.ranges import FilmRanges, Ranges, RoundRanges

SIZE = 64, 96
OLD = FilmDraw(dust=800, hairs=400, scratches=3, weave=0.7, flicker=0.05, offset=2.0, grain=3.0, frames=9)
NOTHING_ELSE = RoundRanges(
    blur_probability=0.0, resize_probability=(0.0, 0.0, 1.0), gaussian_probability=1.0, gaussian_noise=(0.0, 0.0), jpeg_probability=0.0
)  # fmt: skip
FILM = FilmRanges(
    dust=(800, 800), hairs=(400, 400), scratches=(2, 2), weave=(0.5, 0.5), flicker=(0.05, 0.05), offset=(2, 2), grain=(3, 3)
)  # fmt: skip
DAMAGE = Damage(order=1, ranges=Ranges(first=NOTHING_ELSE, film=FILM))


def test_a_frame_is_drawn_alone() -> None:
    """Frames differ from each other, and each is the same in any order; another shot has other scratches and the same dirt."""
    forth = [draw_frame(OLD, 4, n, SIZE) for n in range(6)]
    back = [draw_frame(OLD, 4, n, SIZE) for n in reversed(range(6))]
    assert forth == back[::-1]
    assert len({one.gain for one in forth}) == len({one.shift for one in forth}) == 6
    assert any(speck.hair for one in forth for speck in one.specks)
    other = draw_frame(OLD, 5, 3, SIZE, shot=1)
    assert (other.specks, other.gain, other.shift) == (forth[3].specks, forth[3].gain, forth[3].shift)
    assert [one.contrast for one in other.scratches] != [one.contrast for one in forth[3].scratches]
    assert msgspec.json.decode(msgspec.json.encode(other), type=FrameDraw) == other


def test_the_record_tells_each_changed_pixel() -> None:
    """Dirt and scratches change a picture where the record covers it, by what it says, and nowhere else."""
    flat = torch.full((3, *SIZE), 0.5)
    kinds = msgspec.structs.replace(OLD, weave=0.0, flicker=0.0, offset=0.0, grain=0.0, scratch_contrast=(20.0, 60.0))
    drawn = draw_frame(kinds, 4, 2, SIZE)
    assert drawn.specks
    assert drawn.scratches
    made = (Aged(kinds, 4, 2)(flat)[0] * 255).numpy()
    dirt = np.max([cover(speck, SIZE) for speck in drawn.specks], axis=0)
    lines = np.sum([profile(scratch, SIZE[1]) for scratch in drawn.scratches], axis=0)
    beside = dirt == 0
    expected = np.clip(127.5 + np.broadcast_to(lines, SIZE), 0, 255)
    assert np.allclose(made[beside], expected[beside], atol=0.01)
    keep, add = marks(drawn, SIZE)
    assert np.array_equal(keep < 1, dirt > 0)
    assert np.allclose(made, np.clip(127.5 * keep + add, 0, 255), atol=0.01)


def test_dirt_at_an_edge_is_cut_off() -> None:
    """A speck may lie beyond the picture, wholly or in part."""
    assert not cover(Speck(((-9.0, 5.0, 2.0),), 200.0), SIZE).any()
    corner = cover(Speck(((95.0, 63.0, 3.0), (99.0, 70.0, 3.0)), 200.0), SIZE)
    assert corner[-1, -1] == 1
    assert corner[:-4].sum() == 0


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pixels]]:
    """Write a pan of twelve frames."""
    pictures = pan(12, *SIZE)
    return write_film(tmp_path_factory.mktemp("clean") / "film.mkv", pictures), pictures


def degraded(source: Path, folder: Path, seed: int = 3) -> tuple[Entry, Path]:
    """Degrade a film by its film damage alone; return its entry and its folder."""
    folder.mkdir()
    return degrade_file(source, folder, seed, DAMAGE, 1.0), folder


def test_equal_seeds_give_equal_bytes_and_others_do_not(clean: tuple[Path, list[Pixels]], tmp_path: Path) -> None:
    """Film and record are the same files; the record has one line a frame, which `draw_frame` gives again."""
    (entry, first), (again, second), (_, third) = (
        degraded(clean[0], tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert entry == again
    for name in (entry.copy, entry.frames):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (first / name).read_bytes() != (third / name).read_bytes()
    assert entry.frames == "film.mp4.frames.jsonl"
    (drawn,) = entry.draws
    assert drawn.film is not None
    frames = list(read_frames(first / entry.frames))
    assert frames == [draw_frame(drawn.film, drawn.seed, n, SIZE) for n in range(12)]
    assert len(fingerprint(first / entry.copy)) == 12


def test_a_film_that_ends_earlier_has_the_same_draws(clean: tuple[Path, list[Pixels]], tmp_path: Path) -> None:
    """Frames before the end, and those of a film with a cut, have the same dirt and the same level."""
    entry, folder = degraded(clean[0], tmp_path / "whole")
    whole = list(read_frames(folder / entry.frames))
    pictures = clean[1]
    for name, shown in (("short", pictures[:7]), ("cut", pictures[:6] + [255 - p[::-1] for p in pictures[6:]])):
        (tmp_path / name).mkdir()
        entry, folder = degraded(write_film(tmp_path / name / "film.mkv", shown), tmp_path / name / "made")
        found = list(read_frames(folder / entry.frames))
        assert [one.frame for one in found] == list(range(len(shown)))
        assert len(entry.draws) == (2 if name == "cut" else 1)
        assert [one.shot for one in found][-1] == len(entry.draws) - 1
        assert [(f.specks, f.gain, f.offset, f.shift) for f in found] == [
            (f.specks, f.gain, f.offset, f.shift) for f in whole[: len(shown)]
        ]


def test_out_as_a_file_has_its_record_beside_it(clean: tuple[Path, list[Pixels]], tmp_path: Path) -> None:
    """`-o aged.mp4` writes aged.mp4.frames.jsonl, which its entry names; a damage file brings the damage."""
    from click.testing import CliRunner

    from training.degrade.__main__ import main

    write_damage(tmp_path / "film.toml", DAMAGE)
    out = tmp_path / "aged.mp4"
    line = [str(clean[0]), "-o", str(out), "-s", "1", "--seed", "3", "--damage", str(tmp_path / "film.toml")]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    (entry,) = msgspec.json.decode(out.with_name("aged.mp4.json").read_bytes(), type=list[Entry])
    assert entry.frames == "aged.mp4.frames.jsonl"
    entry, folder = degraded(clean[0], tmp_path / "other")
    assert out.with_name("aged.mp4.frames.jsonl").read_bytes() == (folder / entry.frames).read_bytes()


def test_the_paper_s_damage_has_a_record_of_shots(clean: tuple[Path, list[Pixels]], tmp_path: Path) -> None:
    """Without film damage each frame's line has its number and its shot alone; a file of another kind is refused by its line."""
    [entry], failed = run((clean[0],), tmp_path / "out", seed=1, order=1, scale=2)
    assert not failed
    assert list(read_frames(tmp_path / "out" / entry.frames)) == [FrameDraw(n) for n in range(12)]
    with pytest.raises(BadInput, match=r"line 1 of draws\.json"):
        list(read_frames(tmp_path / "out" / "draws.json"))
