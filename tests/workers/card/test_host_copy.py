"""Copies on the host that are waited for when they are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from workers.card.host_copy import HostCopy


def test_without_a_stream_the_values_are_those_of_the_tensor() -> None:
    """On the CPU nothing is copied or recorded."""
    copy = HostCopy(torch.arange(4))
    assert copy.ready is None
    assert copy.read().tolist() == [0, 1, 2, 3]


def test_on_a_card_only_reading_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy goes to pinned memory without waiting, its event is recorded behind it, and reading waits for the event first."""
    done: list[Any] = []
    host = SimpleNamespace(
        copy_=lambda values, non_blocking: done.append(("copy", non_blocking)), cpu=lambda: done.append("read")
    )
    event = SimpleNamespace(synchronize=lambda: done.append("wait"))
    stream = SimpleNamespace(record_event=lambda: done.append("record") or event)

    def empty(shape: Any, *, dtype: torch.dtype, pin_memory: bool) -> Any:
        done.append(("pinned", shape, dtype, pin_memory))
        return host

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    copy = HostCopy(SimpleNamespace(device=torch.device("cuda"), shape=(4, 2), dtype=torch.int32))  # type: ignore[arg-type]
    assert copy.ready is event
    assert done == [("pinned", (4, 2), torch.int32, True), ("copy", True), "record"]
    copy.read()
    assert done[3:] == ["wait", "read"]
