"""Evidence of faults over time in films whose faults are known, and none in films without."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from contract.errors import BadInput
from contract.evidence import Evidence, LookOrder, Place
from contract.film import Scanning
from contract.job import Item, Spec
from contract.settings import Settings
from orchestrator.sandbox.parent import Confined
from orchestrator.submission.repairs import CONTEXT, look_order, places, proposed
from testkit.film_damage import CLIPS, FAST, Amounts, damage
from testkit.filtered import COLOUR, Pixels, write_film
from workers.film.evidence import FILTERS, grain
from workers.film.evidence_process import evidence
from workers.film.scratch_lines import Field

FRAMES = 32
SPEC = Spec(model="lanczos")


def looked_at(pictures: list[Pixels], path: Path) -> Evidence:
    write_film(path, pictures)
    order = LookOrder(path.name, 0, COLOUR, Scanning(), False, (Place(0, FRAMES, 0, FRAMES),), tuple(FILTERS))
    with path.open("rb") as source:
        return evidence(source, order, lambda: None)


@pytest.mark.parametrize("name", sorted(CLIPS | FAST))
def test_nothing_is_proposed_for_clean_films(name: str, tmp_path: Path) -> None:
    """Pans, fades, cuts, confetti, rain, snow, fast motion and titles call for no repair."""
    assert proposed(looked_at((CLIPS | FAST)[name](FRAMES, 96, 128), tmp_path / "film.mkv"), SPEC) == []


@pytest.mark.parametrize(
    ("amounts", "option"),
    [
        (Amounts(flicker=0.04, offset=2.0, grain=2.0), "--deflicker"),
        (Amounts(weave=0.7, grain=2.0), "--stabilise"),
        (Amounts(scratches=3, grain=2.0), "--scratches"),
        (Amounts(dust=2.0, grain=2.0), "--dirt"),
    ],
)
def test_faults_are_found_and_named(amounts: Amounts, option: str, tmp_path: Path) -> None:
    """One kind of damage makes one proposal, which an option that is given already takes away."""
    clip = damage(CLIPS["pan"](FRAMES, 96, 128), amounts, seed=5)
    found = looked_at(clip.damaged, tmp_path / "film.mkv")
    assert proposed(found, SPEC) == [option]
    assert proposed(found, msgspec.structs.replace(SPEC, **{option.removeprefix("--"): True})) == []
    assert found.judged == FRAMES


def test_columns_of_scratches_are_those_of_the_damage(tmp_path: Path) -> None:
    """Each column that is named has a scratch, give or take two."""
    clip = damage(CLIPS["pan"](FRAMES, 96, 128), Amounts(scratches=3, grain=2.0), seed=5)
    (look,) = looked_at(clip.damaged, tmp_path / "film.mkv").looks
    (found,) = [finding for finding in look.findings if finding.filter == "scratches"]
    assert found.columns
    true = [scratch.column for scratch in clip.draws[0].scratches]
    assert all(min(abs(column - place) for place in true) <= 2 for column in found.columns)


@pytest.mark.parametrize("level", [2.0, 4.0, 8.0])
def test_grain_is_measured_from_below(level: float) -> None:
    """Grain on a still is found within a fifth, and never more of it than there is."""
    clip = damage(CLIPS["still"](2, 96, 128), Amounts(grain=level), seed=5)
    before, after = (picture[..., 1].astype("float32") for picture in clip.damaged)
    found = grain(before, after)
    assert found is not None
    assert 0.8 * level <= found[0] <= 1.05 * level
    assert found[1] > 0.8


def test_grain_of_equal_frames_is_none() -> None:
    """The texture of a picture that stands still to the bit is no grain, and a picture without blocks tells nothing."""
    picture: Field = CLIPS["still"](1, 96, 128)[0][..., 1].astype("float32")
    assert grain(picture, picture) == (0.0, 1.0)
    assert grain(picture[:8], picture[:8]) is None


def test_places_of_a_long_film_are_a_bounded_sample(tmp_path: Path) -> None:
    """Three seconds of a film with their context are looked at through a confined process, wherever key frames are."""
    film = write_film(tmp_path / "film.mkv", CLIPS["pan"](180, 48, 64, (1, 0)))
    item = Item(0, "video", film.name, "out.mkv", "0" * 64, film.stat().st_size)
    with closing(Confined(Settings(), ahead=False)) as confined:
        index = confined.plan(film, item, SPEC, 1)
        chosen = places(index)
        found = confined.look(film, look_order(index, film.name))
    assert [place.start for place in chosen] == [26, 78, 130]
    assert [place.first for place in chosen] == [10, 62, 114]
    assert {place.count for place in chosen} == {24 + 2 * CONTEXT}
    assert [(look.start, look.judged, look.decoded) for look in found.looks] == [(p.start, 24, p.count) for p in chosen]
    assert found.judged == 72
    assert found.reason == ""


def test_a_film_without_pictures_is_not_looked_at(tmp_path: Path) -> None:
    """A place that no packet leads to is an error with its reason."""
    film = write_film(tmp_path / "film.mkv", CLIPS["still"](8, 48, 64))
    order = LookOrder("film", 0, COLOUR, Scanning(), False, (Place(500, 8, 500, 8, pts=60_000),), tuple(FILTERS))
    with film.open("rb") as source, pytest.raises(BadInput, match="no place of film could be looked at"):
        evidence(source, order, lambda: None)
