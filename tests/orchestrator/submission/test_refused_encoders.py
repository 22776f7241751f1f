"""A film for the encoder of a card is refused before any work where nobody has that card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.job import Codec, Spec
from contract.settings import Settings
from media.encoder_trial import small, tried
from orchestrator.cli.main import call
from orchestrator.submission.card_encoders import check_machine, check_workers
from orchestrator.submission.outlook import FilmOutlook
from orchestrator.submission.submit import draft
from stores.ledger import Ledger
from testkit.natural_clips import make_moving

without_card = pytest.mark.skipif(not tried(small("h264_nvenc")).problem, reason="the card here has an encoder")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_moving(tmp_path / "film.mp4", 4, (160, 146))


def films(source: Path, codec: Codec) -> tuple[FilmOutlook, ...]:
    return draft([source], Spec("identity", codec=codec), Settings()).films


@without_card
@pytest.mark.parametrize(
    ("codec", "instead", "more"), [("h264_nvenc", "x264", ()), ("av1_nvenc", "svtav1", ("--dry-run",))]
)
def test_a_run_is_refused_in_one_sentence(
    codec: Codec, instead: str, more: tuple[str, ...], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server has started by then, and the sentence names the encoder to take instead."""
    state, out = tmp_path / "state", tmp_path / "out.mkv"
    given = ("-m", "identity", "--codec", codec, "--state", str(state), *more)
    assert call(["run", str(source), "-o", str(out), *given]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert f"this machine cannot encode 160x146 yuv420p with {codec}: no " in said
    assert f"use --codec {instead}, or a machine whose card can." in said
    assert not state.exists()
    assert not out.exists()


def test_other_encoders_are_not_asked_about(source: Path) -> None:
    """Neither this machine nor a cluster: the address is one where no Redis is."""
    nowhere = replace(Settings(), redis_url="redis://127.0.0.1:1/0")
    check_machine(films(source, "x264"))
    assert check_workers(films(source, "x264"), nowhere) == ""


def test_workers_tell_which_encoders_they_have(settings: Settings, source: Path) -> None:
    """A job is refused if no worker has the encoder. Without workers it waits, and the user is told. With a worker that has it, or may have it, nothing is said."""
    ledger, wanted = Ledger(settings), films(source, "hevc_nvenc")
    assert "no worker is alive; the job waits for one" in check_workers(wanted, settings)
    ledger.announce_worker("a", {"encoders": []})
    with pytest.raises(UsageError, match="the only worker does not have hevc_nvenc; use --codec x265, or first start"):
        check_workers(wanted, settings)
    ledger.announce_worker("b", {"encoders": ["h264_nvenc"]})
    with pytest.raises(UsageError, match="none of the 2 workers has hevc_nvenc;"):
        check_workers(wanted, settings)
    ledger.announce_worker("c", {})
    assert check_workers(wanted, settings) == ""
    ledger.announce_worker("c", {"encoders": ["h264_nvenc", "hevc_nvenc"]})
    assert check_workers(wanted, settings) == ""
