"""Servers' steps in this process, one at a time, for tests that decide what happens when."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.settings import Settings
from testkit.crash_points import Laboratory
from testkit.stepped import Stepped, stepped


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    """One orchestrator and one worker that move when the test says so."""
    with stepped(settings) as made:
        yield made


@pytest.fixture(scope="module")
def laboratory(settings: Settings) -> Iterator[Laboratory]:
    """Trials of a job's life with faults; what they log on purpose stays unsaid."""
    logging.disable(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-") as folder,
        Laboratory(settings, Path(folder)).open() as made,
    ):
        yield made
    logging.disable(logging.NOTSET)
