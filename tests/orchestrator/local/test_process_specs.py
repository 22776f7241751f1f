"""Environments of workers on one machine: each has its card and its share of the cores."""

from __future__ import annotations

import pytest

from contract.settings import Settings
from orchestrator.local import process_specs


@pytest.mark.parametrize(
    ("cards", "count", "threads", "expected"),
    [
        ("", 1, 0, "16"),
        ("", 4, 0, "4"),
        ("0,1", 4, 0, "4"),
        ("0", 1, 0, "0"),
        ("0", 4, 3, "3"),
    ],
)
def test_workers_share_the_cores(
    cards: str, count: int, threads: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen usable cores are shared, beside cards too, where frames are encoded; a setting holds, and one worker on a card has all."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", cards)
    monkeypatch.setattr(process_specs, "usable_cores", lambda: 16)
    made = [process_specs.worker(Settings(threads=threads), n, count).env for n in range(count)]
    assert [env.get("RESPOOL_THREADS") for env in made] == [expected] * count
    names = cards.split(",")
    assert [env.get("CUDA_VISIBLE_DEVICES") for env in made] == [
        names[n % len(names)] if cards else None for n in range(count)
    ]
