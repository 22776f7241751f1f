"""A run that is killed, stopped or rewound goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from contract import keys
from contract.settings import Settings
from contract.training import Progress, Run
from orchestrator.local.servers import free_ports
from stores.storage import Storage
from testkit.cluster import fault_path
from training import rank, state
from training.checkpoints import Checkpoints, best_of
from training.loop import Trainer
from training.supervisor import Supervisor


def final_weights(run: Run, settings: Settings) -> dict[str, Any]:
    """Every tensor of the newest checkpoint and of the best generator."""
    checkpoints = Checkpoints(Storage(settings), run.id, "00000000")
    commit = checkpoints.newest()
    assert commit is not None
    assert commit.finished
    held = state.load_tensors(checkpoints.read(commit.state))
    return {
        "generator": held["generator"],
        "ema": held["ema"],
        "moments": held["optimiser"]["state"],
        "best": state.load_tensors(checkpoints.read(best_of(commit).part)),
        "pools": [state.load_tensors(checkpoints.read(part)) for part in commit.pools],
        "discriminator": held.get("discriminator", {}),
    }


def equal(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def start(run: Run, settings: Settings, attempt: str, processes: ForkServerContext) -> Any:
    process = processes.Process(target=rank.work, args=(run.id, attempt, settings))
    process.start()
    return process


def read_progress(run: Run, settings: Settings) -> Progress | None:
    found = Storage(settings).find(keys.train_document(run.id, "progress.json"))
    return None if found is None else msgspec.json.decode(found, type=Progress)


def wait_for_step(run: Run, settings: Settings, step: int, process: Any) -> None:
    """Wait until a checkpoint of `step` or later is committed, or the process has ended."""
    checkpoints = Checkpoints(Storage(settings), run.id, "00000000")
    while process.is_alive():
        newest = checkpoints.newest()
        if newest is not None and newest.step >= step:
            return
        process.join(0.02)


KILLS = {"net": 4, "net with a pool": 3, "gan": 3}
"""Ten in all."""
KINDS: dict[str, dict[str, Any]] = {
    "net": {"steps": 12, "checkpoint_every": 3, "validate_every": 6},
    "net with a pool": {"steps": 12, "checkpoint_every": 3, "validate_every": 6, "pool": 4, "sharpen": True},
    "gan": {"steps": 6, "checkpoint_every": 2, "validate_every": 4, "stage": "gan", "batch": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_steps_it_ends_bit_equal(
    kind: str, small_run: Callable[..., Run], settings: Settings, processes: ForkServerContext
) -> None:
    """Killed with -9 three or four times at random moments and started again, a run ends with the weights of an undisturbed one.

    Generator, average, Adam's moments, pools, discriminator with its spectral vectors, and the best generator are compared.
    """
    undisturbed = small_run(f"undisturbed {kind}", **KINDS[kind])
    process = start(undisturbed, settings, "0000000f", processes)
    process.join()
    assert process.exitcode == 0
    disturbed = small_run(f"disturbed {kind}", **KINDS[kind])
    rng = np.random.default_rng(17)
    for n in range(KILLS[kind]):
        process = start(disturbed, settings, f"0000000{n}", processes)
        wait_for_step(disturbed, settings, int(rng.integers(0, KINDS[kind]["steps"] - 1)), process)
        process.join(rng.uniform(0, 0.3))
        process.kill()
        process.join()
    process = start(disturbed, settings, "0000000e", processes)
    process.join()
    assert process.exitcode == 0
    assert equal(final_weights(disturbed, settings), final_weights(undisturbed, settings))


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_first(
    small_run: Callable[..., Run], settings: Settings, processes: ForkServerContext
) -> None:
    """Told to end, a process commits the step it has reached, reports that it stopped, and ends with 0."""
    run = small_run("terminated", steps=5000, checkpoint_every=5000, validate_every=5000)
    process = start(run, settings, "0000000a", processes)
    while (
        not (progress := read_progress(run, settings)) or not progress.step
    ):  # any step will do: no checkpoint was due
        assert process.is_alive()
        process.join(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 0
    newest = Checkpoints(Storage(settings), run.id, "00000000").newest()
    assert newest is not None
    assert 0 < newest.step < 5000
    assert not newest.finished
    progress = read_progress(run, settings)
    assert progress is not None
    assert progress.state == "stopped"
    assert progress.step == newest.step


def trainer(run: Run, settings: Settings, attempt: str = "0000000a") -> Trainer:
    """The parts of a run in this process."""
    return rank.build(run, settings, Storage(settings), rank.Group(), torch.device("cpu"), attempt)


def test_validating_and_saving_change_nothing(small_run: Callable[..., Run], settings: Settings) -> None:
    """A run that validates and saves at every step ends with the generator of one that does so once."""
    often = small_run("often", steps=6, validate_every=1, checkpoint_every=1)
    rarely = small_run("rarely", steps=6, validate_every=6, checkpoint_every=6)
    for run in (often, rarely):
        assert trainer(run, settings).train()
    a, b = (final_weights(run, settings) for run in (often, rarely))
    assert equal((a["generator"], a["ema"], a["moments"]), (b["generator"], b["ema"], b["moments"]))


def test_the_best_generator_is_kept_not_the_last(small_run: Callable[..., Run], settings: Settings) -> None:
    """When steps make it worse, the checkpoint keeps the weights of the best validation."""
    run = small_run("worse", steps=12, validate_every=1, rate=0.5)
    made = trainer(run, settings)
    assert made.train()
    scores = {point.step: point.values["psnr"] for point in made.state.points}
    commit = made.checkpoints.newest()
    assert commit is not None
    assert best_of(commit).score == max(scores.values())
    assert scores[best_of(commit).step] == max(scores.values())
    assert scores[12] < max(scores.values())


@pytest.mark.slow
def test_two_gloo_ranks_equal_one_that_accumulates(
    small_run: Callable[..., Run], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with a slot each end with the weights of one process with both slots; one is killed on the way.

    The supervisor starts the group again from its last checkpoint. The tolerance is zero: two numbers add in one order only.
    """
    alone = small_run("alone", steps=8, slots=2, checkpoint_every=2)
    assert trainer(alone, settings).train()
    together = small_run("together", steps=8, slots=2, checkpoint_every=2)
    monkeypatch.setenv("PYTHONPATH", fault_path())
    monkeypatch.setenv("RESPOOL_FAULT", f"rank-at-3:{tmp_path}")
    said: list[str] = []
    assert Supervisor(together, settings, 2, lambda what: said.append(str(what))).train()
    assert (tmp_path / "rank-at-3").exists()
    assert any("started again from there" in sentence for sentence in said), said
    a, b = final_weights(alone, settings), final_weights(together, settings)
    assert equal((a["generator"], a["ema"], a["moments"]), (b["generator"], b["ema"], b["moments"]))


@pytest.mark.slow
def test_two_machines_train_one_run(small_run: Callable[..., Run], settings: Settings) -> None:
    """Two supervisors, each with one process of one group, as on two machines, end with the weights of one process with both slots."""
    alone = small_run("alone on one machine", steps=4, slots=2)
    assert trainer(alone, settings).train()
    together = small_run("on two machines", steps=4, slots=2)
    (port,) = free_ports(1)
    place = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "x")
    machines = [Supervisor(together, settings, 1, lambda _: None, nodes=place) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(Supervisor.train, machines)) == [True, True]
    a, b = final_weights(alone, settings), final_weights(together, settings)
    assert equal((a["generator"], a["ema"], a["moments"]), (b["generator"], b["ema"], b["moments"]))


@pytest.mark.slow
def test_a_run_that_cannot_work_is_given_up(small_run: Callable[..., Run], settings: Settings) -> None:
    """When the data have changed, the supervisor ends at once with the sentence; it does not try for ever."""
    run = small_run("changed data")
    picture = msgspec.structs.replace(run.pictures[0], sha256="0" * 64)
    broken = msgspec.structs.replace(run, id="f" * 16, pictures=(picture, *run.pictures[1:]))
    Storage(settings).put(keys.train_document(broken.id, "run.json"), msgspec.json.encode(broken))
    with pytest.raises(Exception, match="SHA-256") as error:
        Supervisor(broken, settings, 1, lambda _: None).train()
    assert "start a new run" in str(error.value)
