"""`python -m training.conclude RUN`: what follows the last step: gate, registration, record, report. Safe to run again."""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contract import keys
from contract.errors import RespoolError, UsageError
from contract.job import Spec, Weights
from contract.provenance import TRAINED, software
from contract.settings import Settings, load
from contract.training import Commit, Gate, Progress, Record, Run
from stores.storage import Storage
from training import gate, networks, perceptual, report, state
from training.checkpoints import Checkpoints, best_of
from training.data.patches import Library
from training.evaluate import metrics
from training.evaluate.methods import baseline, enlarger
from training.gate import Distance, Figures, Method
from training.networks import to_arrays
from training.parent import weights_file
from training.rank import say, write_progress
from weights import tensors, trained
from weights.architectures import check_state
from workers.generators.torch_backend import pick_device

OWN = "trained"


def conclude(run: Run, settings: Settings) -> Gate:
    """Measure the best generator of a finished run, register it when it passes, and write record and report."""
    storage = Storage(settings)
    checkpoints = Checkpoints(storage, run.id, "00000000")
    commit = checkpoints.newest()
    if commit is None or not commit.finished:
        raise UsageError(f"run {run.id} is not finished; `respool training resume {run.id}` goes on with it.")
    weights, data = _weights(run, commit, checkpoints)
    key = keys.weights(weights.sha256)
    storage.put(key, data)
    figures, found = _gate(run, weights, storage, settings)
    storage.put(keys.train_document(run.id, "gate.json"), msgspec.json.encode(found))
    record = _record(run, commit, weights, found, _last(run, commit, checkpoints))
    encoded = msgspec.json.encode(record, order="deterministic")
    storage.put(keys.train_document(run.id, "record.json"), encoded)
    storage.put(keys.train_document(run.id, "report.html"), report.page(record, figures))
    if found.passed or run.force:
        trained.register(encoded, storage, settings)
    return found


def _weights(run: Run, commit: Commit, checkpoints: Checkpoints) -> tuple[Weights, bytes]:
    """Return the best generator as the file that workers load."""
    arrays = to_arrays(state.load_tensors(checkpoints.read(best_of(commit).part)))
    made = {name: tensors.from_array(values) for name, values in arrays.items()}
    check_state(run.architecture, run.parameters, made, f"run {run.id}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        sha256 = tensors.write(path, made)
        data = path.read_bytes()
    base = f"from {run.parent.name} (SHA-256 {run.parent.sha256})" if run.parent else "from scratch"
    return (
        Weights(
            role="generator",
            name=run.name,
            sha256=sha256,
            architecture=run.architecture,
            parameters=run.parameters,
            licence=licence_of(run),
            origin=f"{TRAINED}{run.id}, {base}",
        ),
        data,
    )


def licence_of(run: Run) -> str:
    """Return the licence of the result: whatever parent and data demand, together."""
    parts = [run.parent.licence] if run.parent else []
    parts.append(run.licence)
    wrapped = [f"({part})" if " OR " in part else part for part in dict.fromkeys(parts)]
    return " AND ".join(wrapped)


def _gate(run: Run, weights: Weights, storage: Storage, settings: Settings) -> tuple[Figures, Gate]:
    methods: dict[str, Method] = {"bicubic": baseline("bicubic")}
    parent = "bicubic"
    if run.parent is not None:
        parent = run.parent.name
        methods[parent] = _method(run.parent, storage, settings)
    methods[OWN] = _method(weights, storage, settings)
    distance, name = _distance(run, settings)
    figures = gate.measure(run, methods, Library(settings), distance)
    return figures, gate.judge(run, figures, OWN, parent, name)


def _method(weights: Weights, storage: Storage, settings: Settings) -> Method:
    path = weights_file(weights, storage, settings)
    return enlarger(Spec(weights.name, weights=(weights,)), {weights.sha256: path}, replace(settings, threads=0))


def _distance(run: Run, settings: Settings) -> tuple[Distance | None, str]:
    """LPIPS where it is at hand, else the run's own distance; none for stage net."""
    if run.recipe.stage == "net":
        return None, ""
    lpips, _ = metrics.lpips()
    if lpips is not None:
        return lpips, "LPIPS"
    kind = run.recipe.loss.features
    return gate.pixel_distance(perceptual.distance(kind, settings, pick_device("cpu"))), kind


def _last(run: Run, commit: Commit, checkpoints: Checkpoints) -> state.TrainState:
    """Return the state that the run ended with, for its curves and events."""
    begun = state.begin(
        networks.generator(msgspec.structs.replace(run, parent=None), None),
        networks.discriminator(0) if run.recipe.stage == "gan" else None,
        run.recipe,
    )
    state.load(begun, checkpoints.read(commit.state))
    return begun


def _record(run: Run, commit: Commit, weights: Weights, found: Gate, last: state.TrainState) -> Record:
    best = best_of(commit)
    return Record(
        run=run,
        weights=weights,
        gate=found,
        forced=run.force and not found.passed,
        best_step=best.step,
        best_score=round(best.score, 4),
        steps=commit.step,
        skipped=last.counts.skipped,
        seconds=round(last.counts.seconds, 1),
        events=tuple(last.events),
        points=tuple(last.points),
        software=software(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def main(arguments: list[str]) -> int:
    """Run the program; return 0 if registered, 1 if the gate refused or it failed, 2 if another try would end alike."""
    parser = ArgumentParser(prog="python -m training.conclude", description="Gate and register a finished run.")
    parser.add_argument("run")
    parser.add_argument("--force", action="store_true", help="register the generator even when its gate fails")
    asked = parser.parse_args(arguments)
    settings = load()
    try:
        storage = Storage(settings)
        run = msgspec.json.decode(storage.get(keys.train_document(asked.run, "run.json")), type=Run)
        run = msgspec.structs.replace(run, force=run.force or asked.force)
        found = conclude(run, settings)
    except RespoolError as error:
        say({"error": str(error), "permanent": True})
        return 2
    for check in found.checks:
        say({"check": msgspec.to_builtins(check)})
    accepted = found.passed or run.force
    text = " ".join(gate.failures(found))
    write_progress(
        storage,
        run.id,
        Progress(
            state="done" if accepted else "refused",
            step=run.recipe.steps,
            steps=run.recipe.steps,
            text=text,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
