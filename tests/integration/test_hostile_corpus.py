"""Two hundred hostile names, links, manifests and messages, through every command: nothing escapes, nothing leaks, no output is raw."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import os
import struct
import tempfile
import unicodedata
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu import Connection, Producer
from PIL import Image

from contract import keys
from contract.settings import Settings
from contract.tasks import ENHANCE, QUEUE
from orchestrator.cli.main import call
from orchestrator.job_store import Records
from orchestrator.local import Cluster, start
from stores.storage import Storage
from testkit import hostile
from testkit.processes import until

SEED = 16

pytestmark = pytest.mark.timeout(1500)  # several hundred commands
_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.fixture(scope="module")
def watched() -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        start(Settings(state=Path(folder) / "s", device="cpu", threads=1), workers=1, flower=True) as cluster,
    ):
        yield cluster


def raw(text: bytes) -> list[str]:
    """Characters that move a cursor, end a line, change colours or turn the direction of writing; bytes that are no UTF-8."""
    return sorted(
        {
            ascii(c)
            for c in text.decode("utf-8", "surrogateescape")
            if (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t")
            or unicodedata.bidirectional(c) in _BIDI
            or c in "\u200e\u200f\u061c"
        }
    )


class Opened:
    """The files of a folder that anybody has opened since it was made, by inotify."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._queue = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self._queue, os.fsencode(folder), 0x20 | 0x01) > 0  # IN_OPEN, IN_ACCESS

    def names(self) -> set[str]:
        found: set[str] = set()
        try:
            data = os.read(self._queue, 1 << 16)
        except BlockingIOError:
            return found
        while data:
            (length,) = struct.unpack_from("=12xI", data)
            if length:  # of a file; the folder's own events have no name
                found.add(data[16 : 16 + length].rstrip(b"\0").decode())
            data = data[16 + length :]
        return found


@pytest.fixture
def run(watched: Cluster, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command on the cluster; its output must be free of raw control characters."""

    def command(*arguments: object) -> tuple[int, str]:
        capfd.readouterr()
        first, *rest = map(str, arguments)
        code = call([first, *rest, "--state", str(watched.folder.path)])
        shown = capfd.readouterr()
        for text in (shown.out, shown.err):
            assert raw(text.encode("utf-8", "surrogateescape")) == [], (arguments[0], text)
            assert "Traceback" not in text
        return code, shown.out

    return command


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


Run = Callable[..., tuple[int, str]]


def check_logs(cluster: Cluster) -> None:
    for log in cluster.folder.logs.iterdir():
        assert raw(log.read_bytes()) == [], log.name


def flower(cluster: Cluster, path: str) -> bytes:
    login = cluster.credentials
    token = base64.b64encode(f"{login.flower_user}:{login.flower_password}".encode()).decode()
    request = urllib.request.Request(login.flower_url + path, headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def test_names_and_links(watched: Cluster, run: Run, tmp_path: Path) -> None:
    """A donated folder with 70 hostile names and 40 links out of it: probed, submitted, restored, fetched, judged; links are not read."""
    secrets, donation, out = tmp_path / "secrets", tmp_path / "donation", tmp_path / "out"
    secrets.mkdir()
    donation.mkdir()
    secret = secrets / "credentials"
    Image.new("RGB", (16, 16), (1, 2, 3)).save(secret, "png")
    digest = hashlib.sha256(secret.read_bytes()).digest()
    names = hostile.names(SEED)
    for n, name in enumerate(names):
        folder = donation / f"reel{n % 3}\x1b[31m\u202e" if n % 5 == 0 else donation
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (n, 255 - n, 7)).save(tmp_path / "picture.png")
        (tmp_path / "picture.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    (donation / "broken\x1b[2J\n.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    links = hostile.links(SEED, secret)
    for link in links:
        (donation / link.name).symlink_to(link.target)
    opened, before = Opened(secrets), below(tmp_path)

    assert run("probe", donation)[0] in (0, 1, 2)
    run("probe", donation, "--json")
    code, job = run("submit", donation, "-m", "lanczos", "-s", "2")
    assert code == 0
    job = job.strip()
    records = Records(Storage(watched.settings))
    manifest = until(lambda: records.manifest(job), "the end of the job", 300)
    assert len(records.job(job).items) >= len(names)
    assert len(manifest.files) == len(names)
    stored = {
        hashlib.sha256(records.storage.get(key)).digest() for key, _ in records.storage.list(keys.job_prefix(job))
    }
    assert digest not in stored
    assert not any(b"root:" in records.storage.get(key) for key, _ in records.storage.list(keys.items_prefix(job)))
    for command in (
        ("status",),
        ("status", job),
        ("status", job, "--json"),
        ("watch", job),
        ("workers",),
        ("gc", "--days", "0"),
    ):
        run(*command)
    assert run("fetch", job, "-o", out)[0] == 1  # the broken one failed
    for command in (("verify", out), ("report", job, "-o", tmp_path / "report.html"), ("retry", job), ("cancel", job)):
        run(*command)
    run("fetch", job, "-o", out)
    made = below(tmp_path) - before
    assert {path for path in made if out not in (path, *path.parents)} <= {tmp_path / "report.html"}
    assert not any(path.is_symlink() for path in made)
    assert len([path for path in made if path.suffix == ".png"]) == len(names)

    assert opened.names() == set()
    check_logs(watched)
    print(f"{len(names)} names, {len(links)} links")


def test_manifests(watched: Cluster, run: Run, tmp_path: Path) -> None:
    """55 forged manifests of a real job: none writes outside OUT, and each is an error of one sentence."""
    source, out = tmp_path / "a.png", tmp_path / "deep" / "in" / "out"
    Image.new("RGB", (16, 16), (9, 9, 9)).save(source)
    job = run("submit", source, "-m", "lanczos", "-s", "2")[1].strip()
    records = Records(Storage(watched.settings))
    (file,) = until(lambda: records.manifest(job), "the end of the job", 300).files
    forged = hostile.manifests(SEED, job, file.key, file.sha256)
    assert len(forged) == hostile.MANIFESTS
    before = below(tmp_path)
    for n, document in enumerate(forged):
        records.storage.put(keys.manifest(job), document)
        assert run("fetch", job, "-o", out)[0] != 0, document[:200]
        run("status", job)
        if n % 11 == 0:
            for command in (("status",), ("retry", job), ("gc", "--days", "0")):
                run(*command)
        assert {path for path in below(tmp_path) - before if out not in (path, *path.parents)} <= {*out.parents}
        assert not any(path.is_file() for path in below(tmp_path) - before)
    assert not Path("/tmp/respool-escaped").exists()
    check_logs(watched)
    print(f"{len(forged)} manifests")


def test_messages(watched: Cluster, run: Run, tmp_path: Path) -> None:
    """35 hostile messages: workers live, the next job is done, and neither logs nor Flower show a raw control character."""
    bodies = hostile.messages(SEED)
    assert len(bodies) == hostile.MESSAGES
    workers = [process.pid for process in watched.processes if process.role == "worker"]
    with Connection(watched.settings.redis_url) as connection:
        producer = Producer(connection.default_channel, routing_key=QUEUE)
        for n, body in enumerate(bodies):
            text = f"\x1b[31m{n}\u202e\x9b"
            producer.publish(
                body,
                headers={"lang": "py", "task": ENHANCE, "id": f"hostile-{n}", "root_id": text, "parent_id": None, "group": None,
                         "argsrepr": text, "kwargsrepr": text, "origin": text, "shadow": text},
                correlation_id=f"hostile-{n}",
                content_type="application/json",
                content_encoding="utf-8",
            )  # fmt: skip
    source = tmp_path / "next\x1b[2J.png"
    Image.new("RGB", (16, 16), (8, 9, 10)).save(source)
    job = run("submit", source, "-m", "lanczos", "-s", "2")[1].strip()
    records = Records(Storage(watched.settings))
    assert until(lambda: records.manifest(job), "the end of the job", 300).state == "done"
    assert [process.pid for process in watched.processes if process.role == "worker"] == workers
    run("workers")
    for path in ("/api/tasks?limit=1000", "/api/workers", "/tasks", "/workers"):
        assert raw(flower(watched, path).replace(b"\r\n", b"\n")) == [], path
    check_logs(watched)
    print(f"{len(bodies)} messages")


def test_the_corpus_has_two_hundred_entries() -> None:
    """The corpus is 200 entries, and one seed gives the same ones each time."""
    assert hostile.NAMES + hostile.LINKS + hostile.MANIFESTS + hostile.MESSAGES == 200
    assert hostile.names(SEED) == hostile.names(SEED)
    assert len(set(hostile.names(SEED))) == hostile.NAMES
    assert len({link.name for link in hostile.links(SEED, Path("/s"))}) == hostile.LINKS
