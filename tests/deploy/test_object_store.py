"""SeaweedFS as deploy/compose and deploy/helm start it: the S3 port is open, and nothing behind it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from contract.errors import Unreachable
from contract.settings import Settings
from orchestrator.local.servers import free_ports
from stores.storage import Storage

ROOT = Path(__file__).parents[2]
_PARTS = ("master", "volume", "filer", "s3")


def answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Path, dict[str, int]]]:
    """The server of compose.yaml with its own arguments, on free ports; its folder, and the ports by name."""
    command = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]["s3"]["command"]
    with tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for role in ("orchestrator", "worker", "submitter", "operator"):
            (folder / f"{role}_s3_access_key").write_text(f"{role}-access")
            (folder / f"{role}_s3_secret_key").write_text(f"{role}-secret-of-some-length")
        identities = subprocess.run(
            [ROOT / "deploy/s3/identities.sh", "respool", folder], capture_output=True, check=True
        ).stdout
        (folder / "s3_identities").write_bytes(identities)
        ports = dict(zip(_PARTS, free_ports(len(_PARTS), grpc=True), strict=True))
        argv = [os.path.join(sysconfig.get_path("scripts"), "weed")]  # noqa: PTH118
        argv += [a.replace("/data", f"{folder}/data").replace("/run/secrets", str(folder)) for a in command]
        for part, port in ports.items():
            argv += [f"-{part}.port={port}", f"-{part}.port.grpc={port + 10000}"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(argv, cwd=folder, env={**os.environ, "TMPDIR": name}, stdout=log, stderr=log)
        try:
            while not answers("127.0.0.2", ports["s3"]):
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
            yield folder, ports
        finally:
            process.kill()
            process.wait()


def test_only_the_s3_port_is_open(server: tuple[Path, dict[str, int]]) -> None:
    """From another address (127.0.0.2 here) master, volume and filer, which know no policies, cannot be reached."""
    _, ports = server
    assert answers("127.0.0.2", ports["s3"])
    assert answers("127.0.0.1", ports["filer"])
    for part in ("master", "volume", "filer"):
        for port in (ports[part], ports[part] + 10000):
            assert not answers("127.0.0.2", port), part


def test_the_orchestrator_makes_the_bucket_and_nobody_else_can(server: tuple[Path, dict[str, int]]) -> None:
    """A new store has no bucket: a worker that comes first is refused, and the orchestrator makes it."""
    folder, ports = server

    def store(role: str) -> Storage:
        return Storage(
            Settings(
                state=folder,
                s3_endpoint=f"http://127.0.0.2:{ports['s3']}",
                s3_access_key=f"{role}-access",
                s3_secret_key=f"{role}-secret-of-some-length",
            )
        )

    with pytest.raises(Unreachable):
        store("worker").ensure_bucket()
    store("orchestrator").ensure_bucket()
    store("worker").ensure_bucket()


def test_compose_and_the_chart_start_it_alike() -> None:
    """Compose and the Helm chart start the store with the same arguments, but for the place of the secret."""
    command = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]["s3"]["command"]
    chart = (ROOT / "deploy/helm/templates/bundled.yaml").read_text()
    for argument in command:
        assert f"- {argument.replace('/run/secrets', '/run/secrets/respool')}\n" in chart, json.dumps(argument)


def test_the_store_takes_the_lifecycle_rules(settings: Settings) -> None:
    """SeaweedFS accepts deploy/s3/lifecycle.json as `aws s3api` sends it, and gives the same rules back."""
    rules = json.loads((ROOT / "deploy/s3/lifecycle.json").read_text())
    client = Storage(settings)._client
    client.put_bucket_lifecycle_configuration(Bucket=settings.s3_bucket, LifecycleConfiguration=rules)
    found = client.get_bucket_lifecycle_configuration(Bucket=settings.s3_bucket)["Rules"]
    assert found == rules["Rules"]
