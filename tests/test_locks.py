"""The lock files: complete, of one mind with constraints.txt, and bound to the files on PyPI by their hashes."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path.name for path in REQUIREMENTS.glob("*.txt"))


def name(requirement: str) -> str:
    """Return the normalised name of the package that a requirement asks for."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement.strip(), maxsplit=1)[0]).lower()


def pins(path: Path) -> dict[str, str]:
    """Return the version of each package that a lock file or a list of constraints pins."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE)
    return {name(package): version for package, version in found}


def wanted(lock: str) -> set[str]:
    """Return the packages that a lock file must pin: those of build.in, or those of pyproject.toml with all extras."""
    if lock.startswith("build-"):
        lines = (REQUIREMENTS / "build.in").read_text().splitlines()
        return {name(line) for line in lines if not line.startswith("#")}
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return {
        name(line) for group in (project["dependencies"], *project["optional-dependencies"].values()) for line in group
    }


def test_every_python_has_its_locks() -> None:
    """Each supported Python has a lock file for the build and one for the rest."""
    assert {"py3.11.txt", "py3.12.txt", "build-py3.11.txt", "build-py3.12.txt"} == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_fresh(lock: str) -> None:
    """A lock file pins what pyproject.toml asks for, in the versions of constraints.txt; else `make lock` is due."""
    locked, constraints = pins(REQUIREMENTS / lock), pins(ROOT / "constraints.txt")
    assert wanted(lock) - set(locked) == set(), "run `make lock`"
    assert {p: v for p, v in locked.items() if constraints.get(p) != v} == {}, (
        "pin these in constraints.txt, or run `make lock`"
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes(lock: str) -> None:
    """Every line of a lock file is a pinned package or a SHA-256 of one; none names a registry or another source."""
    lines = [line for line in (REQUIREMENTS / lock).read_text().splitlines() if not line.startswith("#")]
    package = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[^\s;]+( ; [^\\]+)? \\")
    sha = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not package.fullmatch(line) and not sha.fullmatch(line)] == []
    followed = [after for line, after in itertools.pairwise(lines) if package.fullmatch(line)]
    assert len(followed) == len(pins(REQUIREMENTS / lock))
    assert all(sha.fullmatch(line) for line in followed)
