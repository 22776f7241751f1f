"""Defects planted into Respool's own code, in jobs of a real cluster: what no other check sees, a witness does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.cluster import Rig, rig
from testkit.defects import DEFECTS, Defect, trial, witness_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def planted(place: Path) -> Iterator[Rig]:
    with rig(place, fault="planted") as made:
        yield made


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_a_defect_is_caught(defect: Defect, planted: Rig, place: Path) -> None:
    """The film is not delivered, and the failure is that of the check which is there for such a defect."""
    outcome = trial(planted, place, defect, "full", DEFECTS.index(defect))
    assert outcome.state == "failed", outcome
    assert witness_of(outcome.words) == defect.caught, outcome


@pytest.mark.parametrize("name", [DEFECTS[0].name, DEFECTS[-1].name])
def test_without_a_witness_it_is_delivered(name: str, planted: Rig, place: Path) -> None:
    """The same defects with `--witness off`: a wrong film, so that the faults do act and nothing else stops them."""
    number = next(n for n, defect in enumerate(DEFECTS) if defect.name == name)
    assert trial(planted, place, DEFECTS[number], "off", number).state == "wrong"
