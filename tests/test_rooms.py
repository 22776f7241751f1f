"""Rooms import downwards, folders not in circles, and nothing grows too large to be read."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("contract", "stores", "media", "weights", "workers", "training", "orchestrator", "testkit", "benchmarks")
LARGEST_ROOM = 0.30
LONGEST_FILE, LONGEST_FUNCTION = 350, 60
RIDDLES = ("What", "Where", "Whether", "How", "Who", "Which", "Whose")


def modules(*folders: str) -> Iterator[Path]:
    """Python files of some top-level folders."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if is_module(name) else node.module


def is_module(name: str) -> bool:
    """Return True for a module or package of ours."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def folder_of(name: str) -> Path:
    """Return the folder, relative to the root, that a module of ours lies in."""
    path = Path(*name.split("."))
    return path if (ROOT / path).is_dir() else path.parent


def nested(one: Path, other: Path) -> bool:
    """Return True when one of two folders lies in the other: an inner folder is part of the outer one."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def folder_imports() -> dict[Path, set[Path]]:
    """Return which folder imports from which, inner folders of a folder aside."""
    found: dict[Path, set[Path]] = defaultdict(set)
    for path in modules(*ROOMS):
        here = path.parent.relative_to(ROOT)
        for name in imported(path):
            if name.split(".")[0] in ROOMS and not nested(here, there := folder_of(name)):
                found[here].add(there)
    return found


def reachable(graph: dict[Path, set[Path]], start: Path) -> set[Path]:
    """Return all folders that imports lead to from `start`."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        for following in graph.get(waiting.pop(), set()) - seen:
            seen.add(following)
            waiting.append(following)
    return seen


def test_folders_do_not_import_in_circles() -> None:
    """No folder is reached again from what it imports, imports for types and inside functions included."""
    graph = folder_imports()
    assert len(graph) > 20
    assert [str(folder) for folder in graph if folder in reachable(graph, folder)] == []


def test_contract_needs_only_msgspec() -> None:
    """Both sides can read the contract on a machine that has neither side's packages."""
    packages = {name.split(".")[0] for path in modules("contract") for name in imported(path)}
    assert packages - sys.stdlib_module_names == {"contract", "msgspec"}


def test_no_room_is_a_house() -> None:
    """No room has 30% or more of the lines."""
    lines = {room: sum(path.read_text().count("\n") for path in modules(room)) for room in ROOMS}
    assert max(lines.values()) < LARGEST_ROOM * sum(lines.values()), lines


def test_files_and_functions_can_be_read_at_a_sitting() -> None:
    """No file is longer than 350 lines, no function than 60, tests included."""
    found = []
    for path in modules(*ROOMS, "tests", "samples", "deploy"):
        text = path.read_text()
        if text.count("\n") > LONGEST_FILE:
            found.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno >= LONGEST_FUNCTION
        ]
    assert found == []


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    """No docstring, of a constant neither, opens with a word that makes the reader wait for what it is about."""
    strings = [
        (path.relative_to(ROOT), node.lineno, node.value.value)
        for path in modules(*ROOMS, "tests", "samples")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    assert len(strings) > 1000, "docstrings are found at all"
    assert [(str(path), line) for path, line, text in strings if text.split()[0] in RIDDLES] == []
