"""SeaweedFS with the identities and policies of deploy/s3, as each role sees it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.settings import Settings
from orchestrator.local.servers import HOST, Member, seaweed

ROLES = ("orchestrator", "worker", "submitter", "operator", "trainer")
BUCKET = "archive"
_IDENTITIES = Path(__file__).parents[1] / "deploy" / "s3" / "identities.sh"


@contextmanager
def living(member: Member, log: Path) -> Iterator[None]:
    """Run a server until the end of the block."""
    with log.open("wb") as stream:
        server = subprocess.Popen(
            list(member.argv), cwd=member.cwd, env={**os.environ, **member.env}, stdout=stream, stderr=stream
        )
    try:
        while not member.ready():
            assert server.poll() is None, log.read_text()[-2000:]
        yield
    finally:
        server.kill()
        server.wait()


@contextmanager
def role_store(folder: Path) -> Iterator[dict[str, Settings]]:
    """Run the server in `folder`; yield the settings of each role, without Redis."""
    secrets = folder / "secrets"
    secrets.mkdir()
    for role in ROLES:
        (secrets / f"{role}_s3_access_key").write_text(f"{role}-access")
        (secrets / f"{role}_s3_secret_key").write_text(f"{role}-secret-of-some-length")
    member = seaweed(folder / "s3", folder, BUCKET, "admin-access", "admin-secret-of-some-length")
    made = subprocess.run([_IDENTITIES, BUCKET, secrets], capture_output=True, text=True, check=True).stdout
    (folder / "s3" / "s3.json").write_text(made)
    with living(member, folder / "log"):
        yield {
            role: Settings(
                state=folder,
                s3_endpoint=f"http://{HOST}:{member.port}",
                s3_bucket=BUCKET,
                s3_access_key=f"{role}-access",
                s3_secret_key=f"{role}-secret-of-some-length",
            )
            for role in ROLES
        }
