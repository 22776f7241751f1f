"""`respool run` watches its own cluster: it gives up when no worker can work, and waits while Redis is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from contract.settings import Settings
from orchestrator.cli import run
from orchestrator.local.state_folder import Life
from stores.ledger import Ledger


def _cluster(settings: Settings) -> Any:
    return SimpleNamespace(life=Life(), settings=settings)


def test_every_worker_withdrawn_ends_the_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' own words are in the error; one worker that can work is enough to go on."""
    monkeypatch.setattr(run, "_UNFIT_S", 0.0)
    ledger = Ledger(settings)
    look = run.watch_over(_cluster(settings))
    assert look is not None
    ledger.announce_worker("a", {"problem": "OSError: No space left on device"})
    ledger.announce_worker("b", {"problem": ""})
    look()
    ledger.announce_worker("b", {"problem": "OSError: no device"})
    with pytest.raises(run.WorkersGone, match="No space left on device"):
        look()


def test_a_redis_that_is_away_does_not_end_the_command(settings: Settings) -> None:
    """While Redis restarts nothing is known of the workers, and nothing is decided."""
    away = Settings(redis_url="redis://127.0.0.1:1/0", s3_endpoint=settings.s3_endpoint, connect_timeout_s=0.2)
    look = run.watch_over(_cluster(away))
    assert look is not None
    look()
