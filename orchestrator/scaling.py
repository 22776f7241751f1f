"""Scaling of workers on each kind of cluster by the commands of its own scheduler.

Workers that leave get SIGTERM and hand their chunks back; each of these schedulers gives them the time for it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.errors import Unreachable, UsageError

Platform = Literal["embedded", "compose", "kubernetes", "slurm"]

MOST = 10_000
_TIMEOUT_S = 300.0
_PAUSED = "autoscaling.keda.sh/paused-replicas"
_SLURM_LIVE = "PENDING,CONFIGURING,RUNNING,SUSPENDED,REQUEUED,REQUEUE_HOLD,STOPPED"


@dataclass(frozen=True)
class Compose:
    """A project of `docker compose` with these files, in the order in which they override each other."""

    files: tuple[Path, ...]

    def scale(self, workers: int) -> str:
        """Set the number of workers; return what was asked for, in a sentence."""
        files = [part for file in self.files for part in ("--file", str(file))]
        _run(
            "docker",
            "compose",
            *files,
            "up",
            "--detach",
            "--no-deps",
            "--no-recreate",
            "--scale",
            f"worker={workers}",
            "worker",
        )
        return f"{workers} workers asked of Docker Compose."


@dataclass(frozen=True)
class Kubernetes:
    """The chart's worker deployment of `release` in `namespace`."""

    namespace: str
    release: str

    def scale(self, workers: int | None) -> str:
        """Set the number of workers; None returns it to the autoscaler. With KEDA the number is fixed until then."""
        name = f"{self.release}-worker"
        if self._autoscaled(name):
            change = f"{_PAUSED}-" if workers is None else f"{_PAUSED}={workers}"
            self._kubectl("annotate", "--overwrite", f"scaledobject.keda.sh/{name}", change)
            if workers is None:
                return "the autoscaler decides again."
            return f"{workers} workers held; `respool scale auto` gives the number back to the autoscaler."
        if workers is None:
            raise UsageError(f"there is no autoscaler for {name} in namespace {self.namespace}; give a number.")
        self._kubectl("scale", f"deployment/{name}", f"--replicas={workers}")
        return f"{workers} workers asked of Kubernetes."

    def _autoscaled(self, name: str) -> bool:
        kinds = self._kubectl("api-resources", "--api-group=keda.sh", "--output=name")
        if "scaledobjects.keda.sh" not in kinds.split():
            return False
        return bool(self._kubectl("get", f"scaledobject.keda.sh/{name}", "--ignore-not-found", "--output=name").strip())

    def _kubectl(self, *args: str) -> str:
        return _run("kubectl", "--namespace", self.namespace, *args)


@dataclass(frozen=True)
class Slurm:
    """Tasks of the array job `name`, made from the batch file `script`."""

    script: Path
    name: str = "respool-worker"

    def scale(self, workers: int) -> str:
        """Submit or cancel tasks until `workers` remain; return what was asked for, in a sentence."""
        here = self.tasks()
        if len(here) < workers:
            _run(
                "sbatch",
                "--parsable",
                f"--job-name={self.name}",
                f"--array=0-{workers - len(here) - 1}",
                str(self.script),
            )
        elif here[workers:]:
            _run("scancel", *here[workers:])
        return f"{workers} workers asked of Slurm, {len(here)} before."

    def tasks(self) -> list[str]:
        """List the ids of all tasks that run or wait, those to keep longest first: running before waiting, old before new."""
        lines = _run(
            "squeue",
            "--me",
            "--array",
            "--noheader",
            f"--name={self.name}",
            f"--states={_SLURM_LIVE}",
            "--format=%i|%T|%V|%K",
        ).splitlines()
        fields = [line.strip().split("|") for line in lines if line.strip()]
        fields.sort(key=lambda f: (f[1] != "RUNNING", f[2], int(f[3]) if f[3].isdigit() else 0))
        return [f[0] for f in fields]


def check(workers: int) -> int:
    """Return `workers`; raise UsageError for a number that no cluster can have."""
    if not 0 <= workers <= MOST:
        raise UsageError(f"{workers} workers asked for; give a number from 0 to {MOST}.")
    return workers


def _run(*argv: str) -> str:
    """Run a scheduler's command and return its output; raise UsageError or Unreachable with its last line of stderr."""
    if shutil.which(argv[0]) is None:
        raise UsageError(f"{argv[0]} is not installed here; run this on a machine from which the cluster is managed.")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"`{_shown(argv)}` did not end within {_TIMEOUT_S:.0f} s; look at the cluster.") from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise Unreachable(f"`{_shown(argv)}` ended with {done.returncode}: {last[0][:300]}")
    return done.stdout


def _shown(argv: Sequence[str]) -> str:
    return " ".join(argv[:8]) + (" ..." if len(argv) > 8 else "")
