"""A release's files: wheel, source distribution, Helm chart and their checksums, all of one version.

    python deploy/release.py check [--tag v1.2.3]     the version agrees wherever it stands
    python deploy/release.py build OUT [--tag v1.2.3] check, then write all files into OUT
    python deploy/release.py pack OUT [--tag v1.2.3]  the same around the wheel and the source distribution in OUT

Nothing is published. The workflow .github/workflows/release.yml signs and publishes what this writes; `make release-dry-run` is
`build`. The chart is packed by helm, which `make tools` installs.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?")


class Refused(Exception):
    """Raised when the files are not those of one release."""


def version() -> str:
    """Return the project's version."""
    found = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    if not _VERSION.fullmatch(found):
        raise Refused(f"pyproject.toml: {found!r} is no version like 1.2.3 or 1.2.3rc1.")
    return found


def check(tag: str) -> str:
    """Return the version; raise Refused where a file names another, or `tag` is given and has no section in the changelog."""
    ours = version()
    chart = (ROOT / "deploy/helm/Chart.yaml").read_text()
    compose = (ROOT / "deploy/compose/compose.yaml").read_text()
    named = [
        ("Chart.yaml", name, found) for name, found in re.findall(r"(?m)^(version|appVersion): *\"?([^\"\n]+)", chart)
    ]
    named += [
        ("compose.yaml", "RESPOOL_VERSION", found) for found in re.findall(r"\$\{RESPOOL_VERSION:-([^}]*)\}", compose)
    ]
    if {name for _, name, _ in named} != {"version", "appVersion", "RESPOOL_VERSION"}:
        raise Refused("Chart.yaml or compose.yaml names no version any more; mend deploy/release.py with them.")
    for file, name, found in named:
        if found != ours:
            raise Refused(f"{file}: {name} is {found}, and pyproject.toml has {ours}; give both the same.")
    _changelog(ours, tag)
    return ours


def _changelog(ours: str, tag: str) -> None:
    """Raise Refused unless the changelog has a section for `tag` and nothing unreleased, or, without a tag, either of both."""
    parts = re.split(r"(?m)^## \[([^]]+)\](.*)$", (ROOT / "CHANGELOG.md").read_text())
    dates, texts = dict(zip(parts[1::3], parts[2::3], strict=True)), dict(zip(parts[1::3], parts[3::3], strict=True))
    if not tag:
        if ours not in dates and "Unreleased" not in dates:
            raise Refused(f"CHANGELOG.md has neither a section for {ours} nor an unreleased one.")
        return
    if tag != f"v{ours}":
        raise Refused(f"the tag is {tag}, and pyproject.toml has {ours}; the tag of that version is v{ours}.")
    if not re.fullmatch(r" - \d{4}-\d{2}-\d{2}", dates.get(ours, "")):
        raise Refused(f"CHANGELOG.md has no section `## [{ours}] - <date>`; name the unreleased one so.")
    if texts.get("Unreleased", "").strip():
        raise Refused(f"CHANGELOG.md still has unreleased changes beside {ours}; give them a version of their own.")


def build(out: Path) -> None:
    """Build the source distribution, and the wheel from that, with the packages of this environment."""
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT], check=True)


def pack(out: Path, ours: str) -> list[Path]:
    """Add the chart and SHA256SUMS to wheel and source distribution in `out`; return the files that the sums name."""
    wheel, sdist, chart = (out / f"respool-{ours}{end}" for end in ("-py3-none-any.whl", ".tar.gz", ".tgz"))
    helm = shutil.which("helm", path=str(ROOT / ".tools" / "bin")) or shutil.which("helm")
    if helm is None:
        raise Refused("there is no helm; run `make tools`.")
    subprocess.run([helm, "package", ROOT / "deploy" / "helm", "--destination", out], check=True)
    for path in (wheel, sdist, chart):
        if not path.is_file():
            raise Refused(f"{path.name} is not in {out}; `build` makes all of {ours}.")
    others = sorted({path.name for path in out.iterdir()} - {wheel.name, sdist.name, chart.name, "SHA256SUMS"})
    if others:
        raise Refused(f"{out} holds other files ({', '.join(others)}); name an empty folder.")
    _inside(wheel, sdist, chart, ours)
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in (chart, sdist, wheel))
    (out / "SHA256SUMS").write_text(sums)
    return [chart, sdist, wheel]


def _inside(wheel: Path, sdist: Path, chart: Path, ours: str) -> None:
    """Raise Refused unless each file's own metadata has the version."""
    with zipfile.ZipFile(wheel) as files:
        texts = {wheel: files.read(f"respool-{ours}.dist-info/METADATA").decode()}
    for path, name in ((sdist, f"respool-{ours}/PKG-INFO"), (chart, "respool/Chart.yaml")):
        with tarfile.open(path) as archive:
            member = archive.extractfile(name)
            texts[path] = member.read().decode() if member else ""
    for path, text in texts.items():
        if not re.search(rf"(?mi)^version: *\"?{re.escape(ours)}\"?$", text):
            raise Refused(f"{path.name} has another version inside than {ours}; build it anew.")


def main() -> int:
    """Check, build or pack; 1 where something does not agree."""
    parser = argparse.ArgumentParser(prog="python deploy/release.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("check", "build", "pack"))
    parser.add_argument("out", type=Path, nargs="?", help="folder for the files; not for check")
    parser.add_argument("--tag", default="", help="the release's tag; without one this is a dry run")
    options = parser.parse_args()
    if (options.out is None) != (options.what == "check"):
        parser.error("check takes no folder." if options.out else f"{options.what} needs a folder.")
    try:
        ours = check(options.tag)
        print(f"version {ours} stands everywhere")
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            if options.what == "build":
                if any(options.out.iterdir()):
                    raise Refused(f"{options.out} is not empty; name another folder.")
                build(options.out)
            for path in pack(options.out, ours):
                print(f"{path.stat().st_size:10} {path}")
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
