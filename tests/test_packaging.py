"""The wheel and the source distribution, as a stranger gets them: complete, valid, and working without the checkout; a release's files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from contract.programs import Program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ROOMS = {"contract", "stores", "media", "weights", "workers", "training", "orchestrator"}


def call(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a command outside the checkout, without its import path or settings; return what it printed.

    The command must end with the exit code `code`.
    """
    private = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RESPOOL_"))}
    private["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), private.get("PATH", "")))
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=private, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr if code else done.stdout


def tracked() -> list[str]:
    """Return the paths of the checkout's files, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the source distribution from a copy of the checkout, and the wheel from that; return (wheel, sdist)."""
    folder = tmp_path_factory.mktemp("packaging")
    copy, out = folder / "copy", folder / "dist"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=folder)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs' folder of a new environment with the wheel alone, beside the packages that it depends on.

    Those are lent by the environment of the tests, whose folder a .pth file names. Python reads no .pth files of that
    folder, so the editable install of the checkout stays out.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    call(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        distributions[0],
        cwd=folder,
    )
    place = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (place / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that requirements ask for, and those that these ask for in turn, by their metadata."""
    seen = set[tuple[str, str]]()
    todo = [(line, "") for line in requirements]
    while todo:
        line, extra = todo.pop()
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        for one in {(canonicalize_name(wanted.name), asked) for asked in ("", *wanted.extras)} - seen:
            seen.add(one)
            todo += [(line, one[1]) for line in importlib.metadata.requires(one[0]) or ()]
    return {name for name, _ in seen}


@pytest.fixture(scope="module")
def core(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment with what `pip install respool` brings, without extras: no other package is there."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    place = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    with zipfile.ZipFile(distributions[0]) as wheel:
        wheel.extractall(place)
    (own,) = importlib.metadata.distributions(path=[str(place)], name="respool")
    for name in closure(own.requires or ()):
        files = importlib.metadata.files(name) or ()
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            if not (place / top).exists():
                (place / top).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(top))))
    return python


def test_core_needs_no_other_package(core: Path) -> None:
    """Orchestrator, command line and Flower import, and Celery reaches both brokers, with what the package itself asks for."""
    script = """
import importlib, pkgutil, sys
from kombu.transport import get_transport_cls
for broker in ("redis", "sentinel", "amqp"):
    get_transport_cls(broker)
import flower.command
for room in ("contract", "stores", "media", "orchestrator"):
    for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        importlib.import_module(module.name)
print("torch" in sys.modules)
"""
    assert call(core, "-c", script, cwd=core.parent).strip() == "False"


def test_metadata(distributions: tuple[Path, Path]) -> None:
    """PyPI would accept both files: their metadata are valid and the README renders."""
    wheel, sdist = distributions
    assert call(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=wheel.parent).count("PASSED") == 2


def test_contents(distributions: tuple[Path, Path]) -> None:
    """The wheel holds every file of every room, package data included, and nothing of tests, testkit or benchmarks."""
    with zipfile.ZipFile(distributions[0]) as wheel:
        names = {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
        licences = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert names == {name for name in tracked() if name.split("/")[0] in ROOMS}
    assert licences
    with tarfile.open(distributions[1]) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert names | {"pyproject.toml", "README.md", "LICENSE"} <= inside


def test_imports(installed: Path) -> None:
    """Every room comes from the wheel; nothing of the checkout can be imported."""
    script = (
        "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
    )
    places = call(installed / "python", "-c", script, *sorted(ROOMS), cwd=installed).split()
    assert len(places) == len(ROOMS)
    assert all(Path(place).is_relative_to(installed.parent) for place in places)
    script = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    assert call(installed / "python", "-c", script, "testkit", "benchmarks", "tests", cwd=installed).strip() == "[]"


def test_programs(installed: Path) -> None:
    """Every program is in the wheel; those for people print their help, and `test_restores` starts the others."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    for script in scripts:
        assert "Usage" in call(installed / script, "--help", cwd=installed)
    script = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name) is None])"
    assert call(installed / "python", "-c", script, *Program, cwd=installed).strip() == "[]"
    for program in (Program.DEGRADE, Program.EVALUATE):
        assert "usage" in call(installed / "python", "-m", program, "--help", cwd=installed).lower()
    inspector = (installed / "python", "-m", Program.INSPECT_CHECKPOINT)
    assert "missing.pth" in call(*inspector, "missing.pth", cwd=installed, code=2)


def test_catalog(installed: Path) -> None:
    """The catalog of models is in the wheel."""
    assert "RealESRGAN_x4plus" in call(installed / "respool", "models", "list", cwd=installed)


def test_restores(installed: Path, tmp_path: Path) -> None:
    """The wheel alone restores an image on a cluster of its own: every process starts, and the Lua scripts are there."""
    Image.new("RGB", (20, 16), (200, 120, 40)).save(tmp_path / "before.png")
    options = ("-m", "lanczos", "-s", "2", "--state", tmp_path / "state")
    call(installed / "respool", "run", "before.png", "-o", "after.png", *options, cwd=tmp_path)
    with Image.open(tmp_path / "after.png") as after:
        assert after.size == (40, 32)
        assert after.getpixel((20, 16)) == (200, 120, 40)


def copied(folder: Path) -> Path:
    """Return a copy of the files that name a version."""
    chart, composition = "deploy/helm/Chart.yaml", "deploy/compose/compose.yaml"
    for name in ("pyproject.toml", "CHANGELOG.md", "deploy/release.py", composition, chart):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "pattern", "other", "said"),
    [
        ("helm/Chart.yaml", "^version: .*", "version: 9.9.9", "Chart.yaml: version is 9.9.9"),
        ("helm/Chart.yaml", "^appVersion: .*", "appVersion: 9.9.9", "Chart.yaml: appVersion is 9.9.9"),
        ("compose/compose.yaml", "VERSION:-[^}]*", "VERSION:-latest", "compose.yaml: RESPOOL_VERSION is latest"),
    ],
)
def test_a_release_has_one_version(tmp_path: Path, name: str, pattern: str, other: str, said: str) -> None:
    """The version agrees in project, chart and composition today, and where one differs it is named."""
    folder = copied(tmp_path)
    assert "stands everywhere" in call(sys.executable, "deploy/release.py", "check", cwd=folder)
    edit(folder / "deploy" / name, pattern, other)
    assert said in call(sys.executable, "deploy/release.py", "check", cwd=folder, code=1)


def test_a_release_is_in_the_changelog(tmp_path: Path) -> None:
    """A tag must be the version's, and the changelog must have a dated section for it and nothing unreleased."""
    folder = copied(tmp_path)
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    release = (sys.executable, "deploy/release.py", "check", "--tag")
    assert "the tag is v0.0.1" in call(*release, "v0.0.1", cwd=folder, code=1)
    assert "still has unreleased changes" in call(*release, f"v{version}", cwd=folder, code=1)
    edit(folder / "CHANGELOG.md", rf"^## \[{re.escape(version)}\]", "## [0.0.1]")
    assert "has no section" in call(*release, f"v{version}", cwd=folder, code=1)
    edit(folder / "CHANGELOG.md", r"^## \[Unreleased\]$", f"## [{version}] - 2026-12-01")
    assert version in call(*release, f"v{version}", cwd=folder)


def test_release_files(distributions: tuple[Path, Path], need: Callable[[str], str], tmp_path: Path) -> None:
    """Wheel, source distribution and chart are packed with sums that `sha256sum` confirms; the chart has every file of its folder."""
    need("helm")
    for path in distributions:
        shutil.copy(path, tmp_path / path.name)
    call(sys.executable, ROOT / "deploy/release.py", "pack", tmp_path, cwd=tmp_path)
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {path.name for path in tmp_path.iterdir()} - {"SHA256SUMS"}
    assert len(sums) == 3
    for name, digest in sums.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    (chart,) = (tmp_path / name for name in sums if name.endswith(".tgz"))
    with tarfile.open(chart) as archive:
        inside = {name.removeprefix("respool/") for name in archive.getnames()}
    folder = ROOT / "deploy/helm"
    assert inside == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    (tmp_path / "notes.txt").touch()
    again = (sys.executable, ROOT / "deploy/release.py", "pack", tmp_path)
    assert "notes.txt" in call(*again, cwd=tmp_path, code=1)


def test_the_release_workflow_publishes_tags_alone() -> None:
    """Each make target of the workflow exists, and every step that could publish asks whether this is a tag."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text()))
    steps = [(job, step) for job in workflow["jobs"].values() for step in job["steps"]]
    for command in (step["run"] for _, step in steps if step.get("run", "").startswith("make ")):
        assert {word for word in command.split()[1:] if "=" not in word} <= targets
    assert workflow["permissions"] == {"contents": "read"}
    tagged = "github.ref_type == 'tag'"
    for job, step in steps:
        if re.search("login|push|publish|cosign|gh release", f"{step.get('run')} {step.get('uses')}"):
            guarded = tagged in (job.get("if", ""), step.get("if", ""))
            assert guarded or step.get("with", {}).get("push") == "${{ " + tagged + " }}", step
    assert workflow["jobs"]["publish"]["needs"] == ["files", "images"]
    ci = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "make release-dry-run" in ci
