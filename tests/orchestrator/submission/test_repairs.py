"""Proposals of repairs by what was found in a sample, and words that say that it is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contract.evidence import Evidence, Finding, Look
from contract.job import Spec
from orchestrator.cli.main import call
from orchestrator.submission.repairs import lines, proposed
from testkit.film_damage import CLIPS, Amounts, damage
from testkit.filtered import write_film

SPEC = Spec(model="lanczos")


def seen(*findings: Finding, grain: float | None = None, still: float | None = None) -> Evidence:
    return Evidence((Look(100, 56, 24, findings, grain, still),))


def test_a_repair_of_few_frames_is_not_proposed() -> None:
    """A finding in fewer than three quarters of a place's frames, or below its threshold, is listed, and no option is proposed."""
    few = seen(Finding("deflicker", 17, 3.0), Finding("stabilise", 24, 0.25), Finding("scratches", 20, 30.0))
    assert proposed(few, SPEC) == []
    words = lines(few, 5000, SPEC)
    assert words[0] == "faults over time, by a sample of 24 of 5000 frames in 1 place:"
    assert "3 code values" in words[1]
    assert "none of them in half of these frames" in words[2]
    assert words[-1] == "  nothing is proposed"


def test_proposals_are_in_the_order_of_the_filters() -> None:
    """All that is called for is one line that can be copied into a command."""
    many = seen(
        Finding("stabilise", 24, 0.6), Finding("scratches", 24, 30.0, (7,), 12.0), Finding("deflicker", 24, 3.0), grain=5.0, still=0.9
    )  # fmt: skip
    assert lines(many, 24, SPEC)[0] == "faults over time, by all frames:"
    assert lines(many, 24, SPEC)[-1] == "  proposed: --deflicker --scratches --stabilise --steady 1"
    assert proposed(seen(grain=5.0, still=0.2), SPEC) == []


def test_dirt_is_proposed_where_most_clear_spots_are_no_snow() -> None:
    """No option is proposed where many more spots move, where blotches are few, or where one frame has them all; the lines name all three."""
    dirty = seen(Finding("dirt", 7, 1.25, looked=12, others=3.0))
    assert proposed(dirty, SPEC) == ["--dirt"]
    assert proposed(dirty, Spec(model="lanczos", dirt=True)) == []
    for found in (
        Finding("dirt", 7, 1.25, looked=12, others=20.0),
        Finding("dirt", 5, 0.42, looked=12),
        Finding("dirt", 1, 9.0, looked=12),
    ):
        assert proposed(seen(found), SPEC) == []
        assert (
            f"{found.amount:g} clear blotches a frame, in {found.frames} of 12 frames"
            in lines(seen(found), 50, SPEC)[1]
        )
    none = lines(seen(Finding("dirt", 0, 0.0, looked=12, others=2.5)), 50, SPEC)[1]
    assert (
        none
        == "  --dirt: nothing found in 12 frames; 2.5 spots a frame that are as clear are taken for things that move"
    )


def test_nothing_is_said_of_what_was_not_looked_at() -> None:
    """Without a place there is a reason, and no word about faults."""
    assert lines(Evidence(reason="it is dark"), 9, SPEC) == ["faults over time: not looked for: it is dark"]


def test_probe_proposes_and_can_be_told_not_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of a flickering film has the evidence and the option; with --no-evidence there is neither."""
    clip = damage(CLIPS["pan"](30, 48, 64), Amounts(flicker=0.05, offset=2.0), seed=5)
    film = str(write_film(tmp_path / "film.mkv", clip.damaged))
    command = ["probe", film, "-m", "lanczos", "-s", "2"]
    assert call([*command, "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["faults"]["proposed"] == ["--deflicker"]
    assert (facts["faults"]["judged"], facts["faults"]["frames"]) == (30, 30)
    assert call([*command, "--no-evidence"]) == 0
    assert "faults" not in capsys.readouterr().out
    other = str(write_film(tmp_path / "other.mkv", clip.damaged))
    assert call(["probe", film, other, "-m", "lanczos", "-s", "2"]) == 0
    assert "proposed" not in capsys.readouterr().out, "many films are looked at when it is asked for"


def test_lines_before_a_standing_camera_are_doubted() -> None:
    """They may be of the scene: they are named, and no option is proposed."""
    still = seen(Finding("scratches", 24, 30.0, (7, 90), 2.0))
    assert proposed(still, SPEC) == []
    assert "2 lines at columns 7, 90" in lines(still, 5000, SPEC)[1]
    assert "or of the scene" in lines(still, 5000, SPEC)[1]


def test_fine_change_is_not_called_grain() -> None:
    """It was measured between frames, and what moves makes some of it, too."""
    assert "grain, or texture that moves): 5 code values" in lines(seen(grain=5.0, still=0.2), 5000, SPEC)[1]
