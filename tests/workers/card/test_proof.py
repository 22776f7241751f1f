"""Trials of kernels in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from workers.card.proof import Proofs

pytestmark = pytest.mark.usefixtures("_triton")
CPU = torch.device("cpu")


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `made_trial` that a test writes."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    yield tmp_path / "made_trial.py"
    sys.modules.pop("made_trial", None)


def test_a_trial_runs_once_on_a_machine(trial: Path, tmp_path: Path) -> None:
    """An outcome is kept for later workers. The trial runs anew when it changes, or code beside it, which it may import."""
    trial.write_text("import sys\nopen(sys.argv[2], 'a').write('x')\nprint('noise')\nprint('{\"right\": true}')\n")
    runs = tmp_path / "runs"
    for _ in range(2):
        assert Proofs(CPU, tmp_path).outcome("made_trial", str(runs)) == {"right": True}
    assert runs.read_text() == "x"
    trial.write_text(trial.read_text() + "# changed\n")
    Proofs(CPU, tmp_path).outcome("made_trial", str(runs))
    assert runs.read_text() == "xx"
    for n, name in enumerate(("filters.py", "kernel.cu", "kernel.cuh"), 3):
        trial.with_name(name).write_text("// code\n")
        for _ in range(2):
            Proofs(CPU, tmp_path).outcome("made_trial", str(runs))
        assert runs.read_text() == "x" * n, name


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os\nos.abort()", "failed: exit status -6"),
        ("raise ValueError('wrong values')", "failed: ValueError: wrong values"),
        ("import threading\nthreading.Event().wait()", "took more than 2 s"),
    ],
)
def test_a_trial_that_crashes_or_hangs(
    code: str, told: str, trial: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernels are not used, the log says why, and the next worker tries again."""
    trial.write_text(code)
    proofs = Proofs(CPU, tmp_path, limit=2)
    assert proofs.outcome("made_trial") is None
    assert told in caplog.text
    assert not (tmp_path / "probes").exists()
    trial.write_text("print('{}')")
    assert proofs.outcome("made_trial") is None, "this worker does not try twice"
