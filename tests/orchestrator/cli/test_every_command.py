"""Every command has help, a manual page and completion, and what is mistyped is answered with what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from contract.job import Codec
from contract.settings import Settings
from orchestrator.cli.options import _ENCODERS
from testkit.every_command import SHELLS, Walked, mistyped, said, table, walk
from weights.models import list_models

ROOT = Path(__file__).parents[3]
EVERY = list(walk())


@pytest.mark.parametrize("command", EVERY, ids=[" ".join(one.words) for one in EVERY])
def test_a_command_is_complete(command: Walked) -> None:
    """Its help begins with a sentence, its page has that sentence, every shell completes it and all of its options."""
    assert command.help.endswith(".")
    assert command.help.rstrip(".").split()[0] in command.page
    assert command.page.startswith(".TH")
    assert command.completed == SHELLS
    assert command.typed != command.words[-1]
    assert "Did you mean" in command.answer
    assert command.words[-1] in command.answer.partition("Did you mean")[2]


def test_no_command_is_missing() -> None:
    """Groups, and the commands below them, are walked too."""
    words = {one.words for one in EVERY}
    assert {("run",), ("models",), ("models", "fetch"), ("training", "status"), ("damage", "measure")} <= words
    assert len(words) > 38


@pytest.mark.parametrize("codec", get_args(Codec))
def test_a_mistyped_encoder_is_answered_with_the_right_one(codec: str) -> None:
    """Two letters exchanged; names of codecs and of FFmpeg's encoders are in the same sentence's place."""
    code, answer = said("run", "a.mp4", "--codec", mistyped(codec))
    assert code == 2
    assert codec in answer.partition("did you mean ")[2]
    for other in (name for name, ours in _ENCODERS.items() if ours == codec and name != codec):
        assert f"give --codec {codec}." in said("run", "a.mp4", "--codec", other)[1]


def test_a_mistyped_model_is_answered_with_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each generator and face network of the catalog, with two letters exchanged."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    models = list_models(Settings(cache=tmp_path))
    assert len(models) > 6
    for model in models:
        code, answer = said("models", "show", mistyped(model.name))
        assert code == 2
        assert model.name in answer.partition("did you mean ")[2], answer


def test_the_page_of_commands_is_not_stale() -> None:
    """`python -m benchmarks.pages.commands` writes the same table."""
    page = (ROOT / "docs" / "commands.md").read_text()
    assert "\n".join(table()) in page, "run `python -m benchmarks.pages.commands`"
