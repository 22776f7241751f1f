"""Only folders that a dead process of this host owned are removed, whatever others are called."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.local.state_folder import Folder
from stores.scratch import OWNER, OwnFolder, here, own_folder, remove_dead, sweep
from stores.storage import Storage
from workers.runtime.job_cache import JobCache

_GONE = 2**22 + 1
"""No process has this number."""


def owner(folder: Path, **changes: object) -> None:
    """Write an owner file that nobody holds."""
    folder.mkdir(parents=True, exist_ok=True)
    me = here()
    (folder / OWNER).write_text(json.dumps({"host": me.host, "boot": me.boot, "pid": _GONE, **changes}))


def test_a_worker_that_starts_removes_no_folder_of_a_user(settings: Settings, tmp_path: Path) -> None:
    """Folders with names like ours, with dead and living numbers, stay; so do links, and other nodes' folders."""
    scratch = tmp_path / "shared"
    scratch.mkdir()
    kept = [
        scratch / name for name in (f"respool-{_GONE}-reels", "respool-1962-reels", f"respool-{_GONE}-", "respool-x")
    ]
    for folder in kept:
        folder.mkdir()
        (folder / "reel.mov").write_bytes(b"the only copy")
    owner(scratch / "respool-other-node", host="another-node")
    owner(scratch / "respool-not-json")
    (scratch / "respool-not-json" / OWNER).write_text("1962")
    elsewhere = tmp_path / "elsewhere"
    owner(elsewhere)
    (scratch / "respool-link").symlink_to(elsewhere)
    linked = scratch / "respool-linked-owner"
    linked.mkdir()
    (linked / OWNER).symlink_to(elsewhere / OWNER)
    before = sorted(scratch.iterdir())
    from dataclasses import replace

    cache = JobCache(replace(settings, scratch=scratch), Storage(settings))
    assert sorted(set(scratch.iterdir()) - {cache.own}) == before
    assert [(folder / "reel.mov").read_bytes() for folder in kept] == [b"the only copy"] * len(kept)
    assert (elsewhere / OWNER).exists()


def test_what_a_killed_process_left_is_removed_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    """A folder is kept while its process lives, also past a sweep by others, and goes once it was killed."""
    code = (
        "import sys; from pathlib import Path; from stores.scratch import OwnFolder;"
        "print(OwnFolder(Path(sys.argv[1])).path, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    (folder / "frames").write_bytes(b"x")
    sweep(tmp_path)
    assert (folder / "frames").exists()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with own_folder(tmp_path) as mine:
        sweep(tmp_path)
        assert not folder.exists()
        assert mine.exists()
    assert not mine.exists()


def test_a_folder_from_before_a_restart_of_the_machine_is_removed(tmp_path: Path) -> None:
    """Its number may be in use again; nobody holds its owner file."""
    owner(tmp_path / "respool-old", boot="another boot", pid=os.getpid())
    assert remove_dead(tmp_path / "respool-old")


def test_a_users_folder_is_no_state_folder(tmp_path: Path) -> None:
    """--state in a folder with other files is refused before anything in it is touched."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "reel.mov").write_bytes(b"the only copy")
    with pytest.raises(UsageError, match="not empty"):
        Folder(tmp_path).make()
    assert (tmp_path / "scratch" / "reel.mov").exists()
    state = Folder(tmp_path / "state")
    state.make()
    state.make()
    shutil.rmtree(state.path)


def test_the_temporary_folder_of_a_crashed_cluster_must_be_its_own(tmp_path: Path) -> None:
    """cluster.json may name any folder; only one with an owner file goes."""
    state = Folder(tmp_path / "state")
    state.make()
    victim = tmp_path / "respool-1962"
    victim.mkdir()
    state.cluster.write_text(json.dumps({"processes": [], "temporary": str(victim)}))
    state.sweep()
    assert victim.exists()
    left = OwnFolder(tmp_path)
    os.close(left._lock)  # as a killed process does
    state.cluster.write_text(json.dumps({"processes": [], "temporary": str(left.path)}))
    state.sweep()
    assert not left.path.exists()
