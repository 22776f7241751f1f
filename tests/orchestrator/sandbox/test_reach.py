"""The process that parses media, taken over by a source: what it tries to reach is refused, each attempt made in it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from contract.job import Spec
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.sandbox import environment
from orchestrator.sandbox.parent import Confined
from orchestrator.submission.submit import submit
from stores.storage import Storage
from testkit.clips import make_film

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="Linux on x86-64 refuses it"),
]

ROOT = Path(__file__).parents[3]
_REFUSED = ("PermissionError", "gaierror")

_TAKEN_OVER = """
import json, os
from contract.errors import BadInput
from orchestrator.ingest import job as module
from testkit.reach import attempts

def taken_over(*_):
    raise BadInput(json.dumps(attempts(json.loads(os.environ["REACH_TARGETS"]))))

module._film = taken_over
"""


@pytest.fixture
def targets(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Things worth reaching, all within reach of this user: addresses, key files, other people's scratch space."""
    for name in ("outside", "code", "home"):
        (tmp_path / name).mkdir()
    settings.state.mkdir(exist_ok=True)
    (settings.state / "credentials.json").write_text("{}")
    (tmp_path / "home/credentials").write_text("aws_secret_access_key = ...")
    (tmp_path / "outside/victim").write_text("a master")
    (settings.scratch / "other").write_text("a chunk of another worker")
    (tmp_path / "code/sitecustomize.py").write_text(_TAKEN_OVER)
    found = {
        "secrets": f"{settings.s3_secret_key} {settings.redis_url.rpartition('@')[0].rpartition(':')[2]}",
        "credentials": str(settings.state / "credentials.json"),
        "keys": str(tmp_path / "home/credentials"),
        "scratch": str(settings.scratch),
        "outside": str(tmp_path / "outside"),
        "redis": settings.redis_url.rpartition("@")[2].partition("/")[0],
        "s3": settings.s3_endpoint.removeprefix("http://"),
    }
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'code'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("REACH_TARGETS", json.dumps(found))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in settings.environment().items():  # as where an operator configures by environment
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.s3_secret_key)
    return found


def test_what_the_media_process_reaches(settings: Settings, targets: dict[str, str], tmp_path: Path) -> None:
    """Every attempt is refused in the process that parses media, and none is in an ordinary process of the same user."""
    job = submit([make_film(tmp_path / "a.mp4", 5, seed=901)], Spec(model="identity"), settings).job.id
    with pytest.MonkeyPatch.context() as patch, closing(Confined(settings, ahead=False)) as confined:
        patch.setattr(environment, "KEPT", environment.KEPT | {"REACH_TARGETS"})
        confined.run("ingest", job, lambda: None)
    plan = Records(Storage(settings)).plan(job)
    assert plan is not None
    outcomes = json.loads(plan.failures[0].reason)
    reached = {name: said for name, said in outcomes.items() if not said.startswith(_REFUSED)}
    assert reached == {}
    assert (tmp_path / "outside/victim").read_text() == "a master"

    program = "import json, os; from testkit.reach import attempts; print(json.dumps(attempts(json.loads(os.environ['REACH_TARGETS']))))"
    ordinary = json.loads(subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, check=True).stdout)
    assert ordinary.keys() == outcomes.keys()
    assert {name for name, said in ordinary.items() if said.startswith(_REFUSED)} <= {"make a user namespace"}
    assert not (tmp_path / "outside/victim").exists()
    print("\n" + "\n".join(f"| {name} | {said} |" for name, said in outcomes.items()))
