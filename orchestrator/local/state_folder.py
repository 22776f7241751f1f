"""The folder of an embedded cluster: its lock, its credentials, and the list of its processes.

lock               held (flock) by the supervisor as long as the cluster lives
users              held shared by each command that uses the cluster, so that no other command ends it
credentials.json   passwords and ports of this run of the cluster, mode 0600
cluster.json       {"processes": [{"role", "pid", "port", "started"}, ...], ...}
wanted.json        the number of workers that `respool scale` asked for; the supervisor reads it at SIGUSR1
redis/ s3/         the servers' data, which the next run finds again
scratch/           the workers' current chunks; emptied at every start
logs/              one file a process
attended/          one file a job that a `respool run` follows, locked by it (attended.py)
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
from msgspec import Meta, Struct

from contract.errors import UsageError
from contract.settings import Settings
from stores.atomic_files import write_atomically
from stores.scratch import remove_dead

MAX_WORKERS = 256


class Process(Struct, frozen=True):
    """One process of the cluster. `started` tells it from a later process with the same number; port 0 means none."""

    role: str
    pid: int
    port: int
    started: str = ""

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return started(self.pid) == self.started != ""


class Life(Struct, frozen=True):
    """cluster.json. `problems` are sentences about processes that keep crashing, `temporary` a folder outside ours."""

    processes: tuple[Process, ...] = ()
    supervisor: Process | None = None
    watchdog: Process | None = None
    ready: bool = False
    problems: tuple[str, ...] = ()
    temporary: str = ""


class Wanted(Struct, frozen=True):
    """wanted.json: the number of workers asked for while the cluster runs."""

    workers: Annotated[int, Meta(ge=0, le=MAX_WORKERS)]


class Credentials(Struct, frozen=True):
    """Ports, passwords and keys of this run of the cluster."""

    redis_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    s3_bucket: str
    flower_url: str = ""
    flower_user: str = ""
    flower_password: str = ""


@dataclass(frozen=True)
class Folder:
    """Paths below the state folder, and their reading and writing."""

    path: Path

    @property
    def credentials(self) -> Path:
        """Path of credentials.json."""
        return self.path / "credentials.json"

    @property
    def cluster(self) -> Path:
        """Path of cluster.json."""
        return self.path / "cluster.json"

    @property
    def wanted(self) -> Path:
        """Path of wanted.json."""
        return self.path / "wanted.json"

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.path / "logs"

    @property
    def scratch(self) -> Path:
        """Folder of the workers' current chunks."""
        return self.path / "scratch"

    def make(self) -> None:
        """Create the folder for this user alone; raise UsageError when that fails."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(self.path.iterdir()) and not ((self.path / "lock").is_file() or self.cluster.is_file()):
                raise UsageError(
                    f"folder {self.path} is not empty, and no cluster's; name a new or empty one with --state."
                )
            (self.path / "lock").touch(mode=0o600)
            if self.path.stat().st_uid != os.getuid():
                raise UsageError(f"state folder {self.path} belongs to another user; name another with --state.")
            self.path.chmod(0o700)
            for folder in (self.logs, self.scratch):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"state folder {self.path} cannot be used ({error.strerror}); name another with --state."
            ) from error

    def hold(self, name: str, exclusive: bool) -> BinaryIO | None:
        """Take the lock `name` without waiting; None when another process has it. Closing the file releases it."""
        stream = (self.path / name).open("ab")
        try:
            fcntl.flock(stream, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
        except BaseException:
            stream.close()
            raise
        return stream

    @property
    def lived_in(self) -> bool:
        """True while a supervisor holds the folder."""
        if not (self.path / "lock").exists():
            return False
        lock = self.hold("lock", exclusive=False)
        if lock is None:
            return True
        lock.close()
        return False

    def life(self) -> Life | None:
        """Read cluster.json (always replaced whole); None when there is none."""
        try:
            return msgspec.json.decode(self.cluster.read_bytes(), type=Life)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UsageError(
                f"{self.cluster} is not a description of a cluster ({error}); remove the file and start again."
            ) from error

    def write(self, path: Path, value: object) -> None:
        """Replace a small private file whole."""
        write_atomically(path, json.dumps(msgspec.to_builtins(value), indent=1).encode(), private=True)

    def wire(self, settings: Settings) -> tuple[Settings, Credentials]:
        """Return `settings` with the addresses and keys of the cluster that runs here."""
        found = msgspec.json.decode(self.credentials.read_bytes(), type=Credentials)
        values: dict[str, Any] = {
            "redis_url": found.redis_url,
            "broker_url": "",
            "s3_endpoint": found.s3_endpoint,
            "s3_access_key": found.s3_access_key,
            "s3_secret_key": found.s3_secret_key,
            "s3_bucket": found.s3_bucket,
            "state": self.path,
        }
        if settings.scratch == Path():
            values["scratch"] = self.scratch
        return replace(settings, **values), found

    def sweep(self) -> None:
        """End the processes that a crashed cluster left behind, and remove its files. The caller holds the lock."""
        with suppress(UsageError):
            life = self.life()
            for process in (life.processes + ((life.watchdog,) if life.watchdog else ())) if life else ():
                if process.alive:
                    kill_group(process.pid)
            if life and life.temporary:
                remove_dead(Path(life.temporary))
        self.cluster.unlink(missing_ok=True)


def started(pid: int) -> str:
    """Return what tells process `pid` from an earlier or later one of its number; "" when it is gone or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return "" if fields[0] in "ZX" else f"{boot}-{fields[19]}"  # proc(5): field 22, start time in clock ticks
    listing = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listing.stdout.strip()


def kill_group(pid: int) -> None:
    """SIGKILL a process and everything it started that stayed in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
