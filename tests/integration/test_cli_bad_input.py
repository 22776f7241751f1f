"""Bad input of every kind is one sentence and an exit code, with nothing left running and nothing half-written."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.cli.common import ANSWER_S
from orchestrator.local import Cluster

Respool = Callable[..., subprocess.CompletedProcess[str]]


def one_sentence(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The exit code is `code`, stdout is empty, and stderr is one line of ours that has `words` in it."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("respool: ")
    assert lines[0].endswith((".", "?")), lines[0]
    for word in words:
        assert word in lines[0]


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, Path]:
    """Sources that are no films."""
    files = {"missing": tmp_path / "missing.mp4", "empty": tmp_path / "empty.mp4", "text": tmp_path / "text.mp4"}
    files["empty"].touch()
    files["text"].write_text("This is a shopping list.\n" * 50)
    return files


@pytest.mark.parametrize("kind", ["missing", "empty", "text"])
def test_a_source_that_is_no_film_is_refused_before_any_work(
    kind: str, broken: dict[str, Path], respool_here: Respool, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """A missing file, an empty file, and text called .mp4: exit 2, and not even a state folder is made."""
    out = tmp_path / "out.mp4"
    done = respool_here("run", broken[kind], "-o", out, "--model", "lanczos", "--state", tmp_path / "state")
    one_sentence(done, 2, broken[kind].name)
    assert not out.exists()
    assert not (tmp_path / "state").exists()
    assert nobody_left() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "RealESRGAN_x5"], ["RealESRGAN_x5", "did you mean"]),
        (["--scale", "0"], ["scale", "0"]),
        (["--scale", "-2"], ["scale"]),
        (["--scale", "nan"], ["scale"]),
        (["--scale", "17"], ["scale", "17"]),
        (["--scale", "much"], ["much"]),
        (["--tile", "7"], ["7", "tile"]),
        (["--codec", "h267"], ["h267"]),
        (["--face-strength", "0.5"], ["--face-enhance"]),
        (["--crf", "52", "--model", "lanczos"], ["52"]),
        (["--preset", "hasty", "--model", "lanczos"], ["hasty"]),
        (["--pix-fmt", "yuv999p", "--model", "lanczos"], ["yuv999p"]),
        (["--container", "mkv", "--model", "lanczos"], ["mkv", "mp4"]),
        (["--workers", "0"], ["--workers"]),
        (["--no-such-option"], ["--no-such-option"]),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    options: list[str], words: list[str], respool_here: Respool, small_film: Path, tmp_path: Path
) -> None:
    """Each exits 2 with a sentence that names the value, before anything is started or written."""
    done = respool_here("run", small_film, "-o", tmp_path / "out.mp4", "--state", tmp_path / "state", *options)
    one_sentence(done, 2, *words)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("data", "cache")) == []


def test_a_container_without_exact_times_is_not_written(
    respool_here: Respool, small_film: Path, tmp_path: Path
) -> None:
    """AVI is read, not written: exit 2, and the sentence says under which name it would work."""
    done = respool_here("run", small_film, "-o", tmp_path / "out.avi", "--model", "lanczos", "--state", tmp_path / "s")
    one_sentence(done, 2, "out.avi", "out.mkv")


def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    respool_here: Respool, small_film: Path, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """A folder where nobody can write, a file in a folder's place, the source itself, a folder among the sources."""
    film, photographs = tmp_path / "film.mp4", tmp_path / "photographs"
    film.write_bytes(small_film.read_bytes())
    photographs.mkdir()
    (photographs / "film.mp4").write_bytes(small_film.read_bytes())
    state = ["--state", tmp_path / "state", "--model", "lanczos"]
    one_sentence(respool_here("run", film, "-o", "/proc/out.mp4", *state), 2, "/proc")
    one_sentence(respool_here("run", film, "-o", film / "out.mp4", *state), 2, "film.mp4")
    one_sentence(respool_here("run", film, "-o", film, *state), 2, "source itself")
    one_sentence(respool_here("run", photographs, "-o", film, *state), 2, "film.mp4", "folder")
    one_sentence(respool_here("run", photographs, "-o", photographs / "out", *state), 2, "source folder")
    assert film.read_bytes() == small_film.read_bytes()
    assert not (tmp_path / "state").exists()
    assert nobody_left() == []


def test_a_strangers_file_at_the_output_is_not_replaced(
    cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path
) -> None:
    """A file at OUT that is not this job's own result is kept unless --force is given."""
    out = tmp_path / "out.mp4"
    out.write_text("somebody's film")
    args = ("run", small_film, "-o", out, "--model", "lanczos", "-s", "2", "--state", cluster.folder.path)
    done = respool(*args)
    assert done.returncode == 2
    assert "--force" in done.stderr.splitlines()[-1]
    assert out.read_text() == "somebody's film"
    assert respool(*args, "--force").returncode == 0
    assert out.stat().st_size > 1000
    before = out.stat().st_mtime_ns
    assert respool(*args).returncode == 0, "its own result is no stranger"
    assert out.stat().st_mtime_ns >= before


def test_a_bad_file_in_a_folder_fails_alone_and_is_named(
    cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path
) -> None:
    """Damaged films and images among good ones: the others are delivered, each is named for what it is, exit code 1."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "good.mp4").write_bytes(small_film.read_bytes())
    (folder / "bad.mp4").write_bytes(b"not a film" * 500)
    (folder / "empty.png").touch()
    (folder / "junk.tif").write_bytes(b"not an image" * 500)
    done = respool("run", folder, "-o", out, "--model", "identity", "--state", cluster.folder.path)
    assert done.returncode == 1, done.stderr
    assert sorted(p.name for p in out.rglob("*")) == ["failures.csv", "good.mp4"]
    assert {line.partition(",")[0] for line in (out / "failures.csv").read_text().splitlines()[1:]} == {
        "bad.mp4",
        "empty.png",
        "junk.tif",
    }
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed item: ")]
    reasons = {line.split(": ")[1]: line for line in failed}
    assert len(failed) == 3
    assert {"bad.mp4", "empty.png", "junk.tif"} == set(reasons)
    assert "cannot be opened as a film" in reasons["bad.mp4"]
    assert "empty.png is empty; copy it again" in reasons["empty.png"]
    assert "junk.tif is not an image that Respool knows" in reasons["junk.tif"]


@pytest.fixture
def silent() -> int:
    """A port where somebody accepts connections and never says a word."""
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                kept.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in kept:
        connection.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cluster_env(settings: Settings, **changes: str) -> dict[str, str]:
    """RESPOOL_* that name a real cluster, with some of them made wrong."""
    right = {
        "RESPOOL_REDIS_URL": settings.redis_url,
        "RESPOOL_S3_ENDPOINT": settings.s3_endpoint,
        "RESPOOL_S3_ACCESS_KEY": settings.s3_access_key,
        "RESPOOL_S3_SECRET_KEY": settings.s3_secret_key,
        "RESPOOL_S3_BUCKET": settings.s3_bucket,
    }
    return right | {f"RESPOOL_{name.upper()}": value for name, value in changes.items()}


def commands(film: Path, out: Path) -> dict[str, list[object]]:
    job = [film, "--model", "lanczos"]
    return {"status": ["status"], "run": ["run", *job, "-o", out], "submit": ["submit", *job]}


@pytest.mark.parametrize(
    ("fault", "command"),
    [
        ("redis down", "status"),
        ("s3 down", "run"),
        ("redis silent", "submit"),
        ("s3 silent", "status"),
        ("redis password", "run"),
        ("s3 key", "submit"),
        ("redis address", "status"),
    ],
)
def test_servers_that_cannot_be_used_end_a_command_with_3_soon(
    fault: str, command: str, settings: Settings, silent: int, respool: Respool, small_film: Path, tmp_path: Path
) -> None:
    """Down, deaf or refusing: exit 3 and one sentence that names the server; 2 for what is no address."""
    changes = {
        "redis down": {"redis_url": f"redis://127.0.0.1:{closed_port()}/0"},
        "s3 down": {"s3_endpoint": f"http://127.0.0.1:{closed_port()}"},
        "redis silent": {"redis_url": f"redis://127.0.0.1:{silent}/0"},
        "s3 silent": {"s3_endpoint": f"http://127.0.0.1:{silent}"},
        "redis password": {"redis_url": "redis://:wrong@" + settings.redis_url.rpartition("@")[2]},
        "s3 key": {"s3_secret_key": "wrong"},
        "redis address": {"redis_url": "localhost"},
    }[fault]
    out = tmp_path / "out.mp4"
    done = respool(*commands(small_film, out)[command], env=cluster_env(settings, **changes))
    one_sentence(done, 2 if fault == "redis address" else 3, "S3" if fault.startswith("s3") else "REDIS")
    assert not out.exists()
    assert "wrong" not in done.stderr


def test_nobody_at_a_terminal_waits_longer_than_ten_seconds() -> None:
    """The time that servers get to answer, in which the two are asked side by side, leaves two seconds for the rest."""
    assert ANSWER_S <= 8


def test_without_a_cluster_commands_say_how_to_get_one(respool_here: Respool, small_film: Path, tmp_path: Path) -> None:
    """submit, status and control commands need a cluster; none is started behind the user's back."""
    for args in (["status"], ["submit", small_film, "--model", "lanczos"], ["cancel", "0" * 16]):
        done = respool_here(*args, "--state", tmp_path / "state")
        one_sentence(done, 2, "respool up")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("job", ["xyz", "../../etc", "0123456789abcdef", ""])
def test_an_unknown_job_is_named(job: str, cluster: Cluster, respool_here: Respool) -> None:
    """Job ids are checked for their form before they become part of a key, and unknown ones are reported."""
    for command in ("watch", "cancel", "retry"):
        one_sentence(respool_here(command, job, "--state", cluster.folder.path), 2, "job")


def test_a_full_scratch_disk_fails_the_item_and_is_named(
    respool: Respool, small_film: Path, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """A worker without room fails its chunk with the system's words; the command ends with 1 and leaves nothing."""
    disk, state = tmp_path / "disk", tmp_path / "state"
    disk.mkdir()
    mount = [
        "unshare",
        *([] if os.geteuid() == 0 else ["-r"]),
        "-m",
        "sh",
        "-c",
        'mount -t tmpfs -o size=8k none "$0" && exec "$@"',
    ]
    if subprocess.run([*mount, disk, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk in a namespace of its own")
    python = subprocess.run(
        [
            *mount,
            disk,
            *respool_argv("run", small_film, "-o", tmp_path / "out.mp4", "--state", state, "--model", "lanczos"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "RESPOOL_SCRATCH": str(disk), "RESPOOL_MAX_ATTEMPTS": "2"},
    )
    assert python.returncode == 1, python.stderr
    assert "No space left on device" in python.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert nobody_left() == []


def respool_argv(*args: object) -> list[str]:

    return command_line(Program.COMMAND_LINE, *args)
