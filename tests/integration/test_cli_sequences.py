"""Scans as archives hand them over: numbered images become a film, photographs are counted in megapixels."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

from orchestrator.jobs.job_record import Trail
from orchestrator.local import Cluster

Respool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def reel(tmp_path: Path) -> Path:
    """Ten 16-bit scans, numbered from 86400 as a scanner counts from an hour's time code."""
    folder = tmp_path / "reel 7.b"
    folder.mkdir()
    for n in range(10):
        pixels = np.random.default_rng(n).integers(0, 1 << 16, (36, 48, 3), dtype=np.uint16)
        tifffile.imwrite(folder / f"scan_{86400 + n:07}.tif", pixels, photometric="rgb")
    return folder


def test_a_folder_of_scans_becomes_a_film(cluster: Cluster, respool: Respool, reel: Path, tmp_path: Path) -> None:
    """--sequence makes one film of it, all 16 bits kept; its record names every file by its hash, and again is the same job."""
    out = tmp_path / "out.mkv"
    state = ["--state", cluster.folder.path]
    job = ["--sequence", "23.976", "--model", "identity", "--codec", "ffv1", "--chunk-frames", "4"]
    done = respool("run", reel, *job, "-o", out, *state)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "10 files (TIFF, scan_0086400.tif to scan_0086409.tif) at 24000/1001 frames/s" in done.stderr
    with av.open(str(out)) as film:
        assert film.streams.video[0].average_rate == Fraction(24000, 1001)
        frames = [frame.to_ndarray() for frame in film.decode(video=0)]
    files = sorted(reel.iterdir())
    assert len(frames) == len(files)
    for frame, file in zip(frames, files, strict=True):
        assert np.array_equal(frame, tifffile.imread(file))

    name = respool("submit", reel, *job[:4], "--codec", "ffv1", "--container", "mkv", "--chunk-frames", "4", *state)
    (record,) = Trail(cluster.settings).records(name.stdout.strip())  # the job that `run` made, since it is done
    assert record.source.name == "reel 7.b"
    assert record.result.name == "reel 7.b.mkv"
    sequence = record.details["sequence"]
    assert sequence["rate"] == [24000, 1001]
    assert [f["sha256"] for f in sequence["files"]] == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]


def test_probe_shows_the_film_that_scans_would_be(respool_here: Respool, reel: Path) -> None:
    """Its JSON has the sequence and the plan; 16 bits are not given up without a word."""
    done = respool_here("probe", reel, "--sequence", "24", "--model", "lanczos", "--codec", "ffv1", "--json")
    (facts,) = json.loads(done.stdout)
    assert facts["frames"] == len(facts["sequence"]["files"]) == 10
    assert facts["rate"] == "24"
    assert facts["plan"]["pix_fmt"] == "rgb48le"
    refused = respool_here("probe", reel, "--sequence", "24", "--model", "lanczos")
    assert refused.returncode == 2
    assert "--codec ffv1" in refused.stdout


def test_a_hole_in_the_numbers_is_refused(respool_here: Respool, reel: Path, tmp_path: Path) -> None:
    """Exit 2 and one sentence that names the missing number, before anything is started."""
    (reel / "scan_0086404.tif").unlink()
    done = respool_here("run", reel, "--sequence", "24", "-o", tmp_path / "o.mkv", "--state", tmp_path / "state")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "number 86404" in done.stderr
    assert not (tmp_path / "state").exists()


def test_megapixels_are_counted_where_there_are_images(cluster: Cluster, respool: Respool, tmp_path: Path) -> None:
    """A folder of photographs shows images and megapixels instead of frames, and --json has both."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for n in range(3):
        pixels = np.random.default_rng(n).integers(0, 256, (400, 500, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    state = ["--state", cluster.folder.path]
    done = respool("run", folder, "-o", tmp_path / "out", "--model", "lanczos", "-s", "1", *state)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("done: 3/3 images, 0.60/0.60 megapixels") for line in done.stderr.splitlines())
    job = respool("submit", folder, "--model", "lanczos", "-s", "1", *state).stdout.strip()
    status = json.loads(respool("status", job, "--json", *state).stdout)
    assert status["images"] == {"total": 3, "done": 3, "megapixels_total": 0.6, "megapixels_done": 0.6}
    assert status["films"] == 0
