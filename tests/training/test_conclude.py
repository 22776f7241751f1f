"""The end of a run, after its last step: gate, record, report, and a generator that any machine can register."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from contract import keys
from contract.errors import WeightsError
from contract.settings import Settings
from contract.training import Record, Run
from stores.storage import Storage
from training import rank, report
from training.conclude import conclude
from training.gate import Figures
from weights import catalog, trained
from weights.fetch import fetch

pytestmark = pytest.mark.slow
"""Each test's gate compiles and runs a generator."""


@pytest.fixture
def concluded(small_run: Callable[..., Run], settings: Settings) -> tuple[Run, bytes]:
    """A run of few steps, which no gate passes, registered by force; and its record."""
    run = msgspec.structs.replace(small_run("far", steps=4), force=True)
    storage = Storage(settings)
    assert rank.build(run, settings, storage, rank.Group(), torch.device("cpu"), "0000000a").train()
    assert not conclude(run, settings).passed
    return run, storage.get(keys.train_document(run.id, "record.json"))


def test_another_machine_registers_what_this_one_trained(
    concluded: tuple[Run, bytes], settings: Settings, tmp_path: Path
) -> None:
    """From record and store alone a machine with an empty cache gets the same entry and the same file; a second time, too."""
    run, record = concluded
    other = replace(settings, cache=tmp_path / "other")
    with pytest.raises(WeightsError):
        catalog.load(other).find(run.name)
    for _ in range(2):
        trained.register(record, Storage(other), other)
    here, there = (catalog.load(place).find(run.name) for place in (settings, other))
    assert here == there
    assert fetch(there, other).path.read_bytes() == fetch(here, settings).path.read_bytes()
    assert fetch(there, other).origin == fetch(here, settings).origin
    assert run.id in fetch(there, other).origin


def test_what_the_gate_refused_is_registered_nowhere(concluded: tuple[Run, bytes], settings: Settings) -> None:
    """A record of a refused generator without --force is no way around the gate."""
    _, record = concluded
    known = msgspec.structs.replace(msgspec.json.decode(record, type=Record), forced=False)
    with pytest.raises(WeightsError, match="did not pass its gate"):
        trained.register(msgspec.json.encode(known), Storage(settings), settings)


def test_other_weights_under_the_records_hash_are_refused(
    concluded: tuple[Run, bytes], settings: Settings, tmp_path: Path
) -> None:
    """Bytes that are not those of the record are named and not registered."""
    run, record = concluded
    known = msgspec.json.decode(record, type=Record)
    forged = msgspec.structs.replace(known, weights=msgspec.structs.replace(known.weights, sha256="0" * 64))
    Storage(settings).put(keys.weights("0" * 64), b"others")
    other = replace(settings, cache=tmp_path / "other")
    with pytest.raises(WeightsError, match="not what training run"):
        trained.register(msgspec.json.encode(forged), Storage(other), other)
    with pytest.raises(WeightsError):
        catalog.load(other).find(run.name)


def test_the_report_is_one_page_that_shows_everything(concluded: tuple[Run, bytes], settings: Settings) -> None:
    """Every held-out picture before, by each method and as it should be; every rule; nothing is loaded from elsewhere; names are escaped."""
    run, record = concluded
    known = msgspec.json.decode(record, type=Record)
    page = Storage(settings).get(keys.train_document(run.id, "report.html")).decode()
    for method in ("before", "bicubic", "trained", "target"):
        assert page.count(f'alt="{method}"') == len(run.role("held"))
    assert all(f"<td>{check.name}</td>" in page for check in known.gate.checks)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    hostile = msgspec.structs.replace(known, run=msgspec.structs.replace(run, name="<script>alert(1)</script>"))
    assert "<script" not in report.page(hostile, Figures(known.gate.pictures)).decode()
