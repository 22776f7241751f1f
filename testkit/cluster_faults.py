"""Faults that last while a real cluster works: a broken worker, killed readers, a second orchestrator, gc beside all."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from contract.programs import Program, command_line
from orchestrator.jobs import retention
from stores.item_kills import ItemKills
from testkit.clips import make_film
from testkit.cluster import Rig, fault_path
from testkit.processes import until

TOO_LITTLE, ENOUGH = 3 << 30, 8 << 30
"""Memory, in bytes, with which a heavy source is refused (testkit/faults/heavy.py) and with which it is not."""

KILLS = 3
"""Readers that may be killed over one source before it is refused."""


def heavy_and_light(folder: Path, frames: int, seed: int) -> list[Path]:
    """Write two films of one size and length, of which the first is a heavy one."""
    return [make_film(folder / f"{name}.mp4", frames, seed=seed + n) for n, name in enumerate(("heavy", "light"))]


def reason_for_heavy(r: Rig, job: str) -> str:
    """Wait for the end of a job, and return the reason of its failure if the heavy source is the only one; else nothing."""
    manifest = r.finish(job)
    only = [failure.name for failure in manifest.failures] == ["heavy.mp4"] and len(manifest.files) == 1
    return manifest.failures[0].reason if only else ""


def spoil(scratch: Path) -> None:
    """Make scratch space unwritable, also for root: a file takes the folder's place."""
    scratch.rename(scratch.with_name(scratch.name + "-away"))
    scratch.write_bytes(b"")


def mend(scratch: Path) -> None:
    """Make it a folder again."""
    scratch.unlink()
    scratch.mkdir()


def withdrawn(r: Rig) -> dict[str, str]:
    """Return the problem of each worker that took itself out of service."""
    return {name: str(info["problem"]) for name, info in r.ledger.workers().items() if info.get("problem")}


def frames_of(r: Rig, worker: str) -> int:
    """Return the number of frames that a worker has made."""
    return int(str(r.ledger.workers().get(worker, {}).get("frames", 0)))


def reader(folder: Path, n: int) -> int | None:
    """Return the pid of the n-th process that reads a heavy source (testkit/faults/heavy.py); None before it does."""
    found = (folder / "readers").read_text().split("\n")[:-1] if (folder / "readers").exists() else []
    return int(found[n]) if n < len(found) else None


def kill_readers(r: Rig, folder: Path, job: str, with_orchestrator: bool = False) -> None:
    """Kill each reader of the heavy source with SIGKILL, as the kernel does, once together with the orchestrator."""
    kills = ItemKills(r.settings)
    for n in range(KILLS):
        pid = until(partial(reader, folder, n), f"reader {n + 1} of the heavy source", 60)
        until(lambda n=n: sum(kills.counts(job).values()) == n + 1, "its beginning to be counted", 60)  # type: ignore[misc]
        r.hurt(pid, signal.SIGKILL)
        if with_orchestrator and n == 1:
            r.hurt(r.processes("orchestrator")[0].pid, signal.SIGKILL)


@contextmanager
def second_orchestrator(r: Rig, folder: Path, fault: str) -> Iterator[Callable[[], None]]:
    """Start an orchestrator beside the cluster's own; yield a function that kills it and starts another."""
    environment = {**os.environ, **r.settings.environment()}
    environment |= {"PYTHONPATH": fault_path(), "RESPOOL_FAULT": f"{fault}:{folder}"}

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command_line(Program.COMMAND_LINE, "orchestrator"), env=environment)

    running = [begin()]

    def kill() -> None:
        running[-1].kill()
        running[-1].wait()
        running.append(begin())

    try:
        yield kill
    finally:
        running[-1].terminate()
        running[-1].wait(30)


def collect(r: Rig) -> int:
    """Remove what gc finds of jobs that failed or were cancelled, however young; return the number of jobs."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    found = retention.find(r.storage, timedelta(0), results=False, now=tomorrow)
    return sum(retention.remove(r.storage, sweep) for sweep in found if not sweep.reason.startswith("done"))
