"""Folders in scratch space that one process uses alone, and the removal of those whose process is dead.

A folder is ours when it holds an owner file: a regular file that names the host and its boot, and that its process keeps
locked as long as it lives. Nothing else is ever removed, whatever it is called: scratch space may be a shared disk, or
the system's temporary folder with other people's files.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

logger = logging.getLogger(__name__)

PREFIX = "respool-"
OWNER = ".respool-owner"
_MOST = 4096


class Owner(Struct, frozen=True, forbid_unknown_fields=True):
    """The owner file: where its process runs. `boot` changes when the machine is started again."""

    host: str
    boot: str
    pid: int


def here() -> Owner:
    """Return this process as an owner."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""  # not Linux: there the lock alone decides
    return Owner(os.uname().nodename, boot, os.getpid())


class OwnFolder:
    """A new folder below `parent` (None: the system's temporary folder) with an owner file that this process keeps locked."""

    def __init__(self, parent: Path | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Locked before it has its name: a sweep that finds it finds it held.
        part = self.path / f"{OWNER}.part"
        self._lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.write(self._lock, msgspec.json.encode(here()))
        part.rename(self.path / OWNER)

    def remove(self) -> None:
        """Remove the folder and let go of it; a second call does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


@contextmanager
def own_folder(parent: Path | None) -> Iterator[Path]:
    """Make a folder of this process' own below `parent`, and remove it at the end."""
    folder = OwnFolder(parent)
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep(parent: Path) -> None:
    """Remove the folders below `parent` whose processes ran on this host and are dead."""
    with suppress(OSError):  # a parent that cannot be read holds nothing of ours
        for found in sorted(parent.glob(f"{PREFIX}*")):
            remove_dead(found)


def remove_dead(folder: Path) -> bool:
    """Remove `folder` if it has an owner file of this host whose process is dead; return True if it was removed."""
    try:
        if stat.S_ISLNK(folder.lstat().st_mode):
            return False
        lock = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            return False
        owner, me = msgspec.json.decode(os.read(lock, _MOST), type=Owner), here()
        if owner.host != me.host:
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except (OSError, msgspec.DecodeError):
        return False  # held by a living process, or no owner file of ours
    finally:
        os.close(lock)
    logger.info("removed %s, which a dead process left", folder)
    return True
