"""Sources that change, vanish or cannot be read while they are submitted: they fail alone, by name, and the rest completes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import BadInput, SourceChanged
from contract.job import Job, Spec
from orchestrator.jobs.client import Jobs
from orchestrator.local import Cluster
from orchestrator.submission import upload as uploading
from orchestrator.submission.submit import Hooks, draft, submit

SPEC = Spec(model="lanczos", scale=2.0)


def photographs(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for n, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), 10 * n, np.uint8)).save(folder / name)
    return folder


def ended(cluster: Cluster, job: str) -> dict[str, str]:
    """Failures of a job by name, once it has ended."""
    jobs = Jobs(cluster.settings)
    while (status := jobs.status(job)).state not in ("done", "failed"):
        pass
    assert status.items == len(jobs.manifest(job).files) + len(status.failures)  # type: ignore[union-attr]  # it has ended
    return {failure.name: failure.reason for failure in status.failures}


def test_files_that_change_between_hash_and_upload_fail_alone(cluster: Cluster, tmp_path: Path) -> None:
    """One grows, one is rewritten at its own size, one vanishes, after all were hashed: three failures with the true reason."""
    folder = photographs(tmp_path / "photos", "a.png", "grows.png", "other.png", "goes.png", "twin.png")
    (folder / "twin.png").write_bytes((folder / "goes.png").read_bytes())

    def meddle(_: Job) -> None:
        with (folder / "grows.png").open("ab") as file:
            file.write(b"more")
        same = bytearray((folder / "other.png").read_bytes())
        same[-1] ^= 1
        (folder / "other.png").write_bytes(same)
        (folder / "goes.png").unlink()

    job = submit([folder], SPEC, cluster.settings, hooks=Hooks(approve=meddle)).job
    failures = ended(cluster, job.id)
    assert set(failures) == {"grows.png", "other.png", "goes.png"}
    assert "changed while it was read" in failures["grows.png"]
    assert "changed while it was read" in failures["other.png"]
    assert "cannot be read" in failures["goes.png"]


def test_a_file_that_never_rests_is_refused_and_the_rest_goes_on(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that grows whenever it is hashed is given up after three readings; named by itself it ends the command."""
    folder = photographs(tmp_path / "photos", "still.png", "restless.png")
    real = uploading._stamp

    def stamp(path: Path) -> uploading.Stamp:
        if path.name == "restless.png":
            with path.open("ab") as file:
                file.write(b".")
        return real(path)

    monkeypatch.setattr(uploading, "_stamp", stamp)
    job = submit([folder], SPEC, cluster.settings).job
    assert set(ended(cluster, job.id)) == {"restless.png"}
    with pytest.raises(SourceChanged, match="when it no longer changes"):
        submit([folder / "restless.png"], SPEC, cluster.settings)


def test_a_file_and_a_folder_that_cannot_be_read_fail_alone(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without permission a file, and a folder, are failures of their own; a file that the user named is refused at once."""
    folder = photographs(tmp_path / "photos", "a.png", "shut.png")
    photographs(folder / "closed", "inside.png")
    real_open, real_scan = Path.open, os.scandir

    def opened(
        path: Path, *args: object, **options: object
    ) -> object:  # root, as which tests may run, may read everything
        if path.name == "shut.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *args, **options)  # type: ignore[call-overload]

    def scanned(path: object) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scan(path)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opened)
        patched.setattr(os, "scandir", scanned)
        checked = draft([folder], SPEC, cluster.settings)
        with pytest.raises(BadInput, match="Permission denied"):
            draft([folder / "shut.png"], SPEC, cluster.settings)
    failures = ended(cluster, submit(checked, SPEC, cluster.settings).job.id)
    assert set(failures) == {"shut.png", "closed"}
    assert all("check its permissions" in reason for reason in failures.values())
