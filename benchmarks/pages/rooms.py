"""The picture of the rooms and their imports, drawn from the code: docs/rooms.svg.

    python -m benchmarks.pages.rooms [--check] [docs/rooms.svg]

Each room is a row, and each import of a room by another an arrow. The command fails where an arrow would point upwards,
which a circle would need, or a room holds 30% of all lines or more; with `--check` also where the picture is stale. Without, it
prints each room's share of the lines.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
ORDER = ("contract", "stores", "media", "weights", "workers", "training", "orchestrator", "testkit", "benchmarks")
"""All rooms from the ground up; each may import only rooms before it."""
PRODUCT = ORDER[:7]
"""The rooms of the wheel."""
LARGEST = 0.30
"""No room may hold this share of the lines of all rooms."""
_ROW, _WIDTH, _LEFT, _LANE = 74, 720, 16, 22
_COLOURS = ("#4c6a92", "#b0562e", "#3f7d4f", "#8a4f8f", "#9c7a1c", "#2f8a8a", "#a33b5c", "#5d5d5d")


@dataclass(frozen=True, slots=True)
class Room:
    """One top-level folder: its purpose, its folders, its lines of Python, and the rooms that it imports."""

    name: str
    purpose: str
    folders: tuple[str, ...]
    lines: int
    imports: frozenset[str]


def read(name: str) -> Room:
    """Parse all modules of a room."""
    modules = sorted((ROOT / name).rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in modules]
    imported = {target.partition(".")[0] for text in texts for target in _imports(ast.parse(text))}
    docstring = ast.get_docstring(ast.parse((ROOT / name / "__init__.py").read_text(encoding="utf-8"))) or name
    return Room(
        name,
        docstring.splitlines()[0],
        tuple(sorted({path.relative_to(ROOT / name).parts[0] for path in modules if path.parent != ROOT / name})),
        sum(text.count("\n") for text in texts),
        frozenset(imported & set(ORDER) - {name}),
    )


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def faults(rooms: Mapping[str, Room]) -> list[str]:
    """Return a sentence for each arrow that points upwards and each room that is too large."""
    total = sum(room.lines for room in rooms.values())
    upwards = [
        f"{room.name} imports {target}, which stands above it; move the code or turn the import round."
        for room in rooms.values()
        for target in sorted(room.imports, key=ORDER.index)
        if ORDER.index(target) > ORDER.index(room.name)
    ]
    return upwards + [
        f"{room.name} holds {room.lines / total:.0%} of all lines; a room stays under {LARGEST:.0%}: move a part out of it."
        for room in rooms.values()
        if room.lines >= LARGEST * total
    ]


def picture(rooms: Mapping[str, Room]) -> str:
    """Return the SVG: the ground at the bottom, and one vertical line for each room that imports others."""
    importers = [name for name in reversed(ORDER) if rooms[name].imports]
    top = {name: 12 + _ROW * n for n, name in enumerate(reversed(ORDER))}
    width, height = _LEFT + _WIDTH + 40 + _LANE * len(importers), 12 + _ROW * len(ORDER)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif">',
        "<title>The rooms of Respool; each arrow is an import, from the importing room down to the imported</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for lane, name in enumerate(importers):
        parts += _arrows(rooms[name], lane, len(importers), top)
    for name in ORDER:
        parts += _box(rooms[name], top[name], name in PRODUCT)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(room: Room, top: int, product: bool) -> list[str]:
    fill, stroke = ("#eef2f7", "#4c6a92") if product else ("#f6f4ee", "#9a927c")
    x = _LEFT + 14
    lines = [
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_ROW - 14}" rx="6" fill="{fill}" stroke="{stroke}"/>',
        f'<text x="{x}" y="{top + 19}" font-size="15" font-weight="bold" fill="#1c2733">{room.name}/</text>',
        f'<text x="{x + 120}" y="{top + 19}" font-size="12" class="purpose" fill="#1c2733">{escape(_short(room.purpose, 96))}</text>',
    ]
    if room.folders:
        names = escape("  ".join(f"{folder}/" for folder in room.folders))
        lines.append(
            f'<text x="{x + 120}" y="{top + 41}" font-size="11" fill="#5a6675" xml:space="preserve">{names}</text>'
        )
    return lines


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: text.rindex(" ", 0, most)].rstrip(",;:") + " …"


def _arrows(room: Room, lane: int, lanes: int, top: Mapping[str, int]) -> list[str]:
    """Return one room's arrows: out of its box, down a lane of its own, and into each room that it imports."""
    colour, edge = _COLOURS[lane % len(_COLOURS)], _LEFT + _WIDTH
    x = edge + 36 + _LANE * lane
    shift = 6 + (_ROW - 26) * (lane + 1) // (lanes + 1)
    start = top[room.name] + _ROW - 20
    ends = [top[name] + shift for name in room.imports]
    style = f'stroke="{colour}" stroke-width="1.6" fill="none"'
    lines = [f'<path d="M{edge} {start} H{x} V{max(ends)}" {style}/>']
    for end in sorted(ends):
        lines.append(f'<path d="M{x} {end} H{edge + 7}" {style}/>')
        lines.append(f'<path d="M{edge} {end} l9 -4 v8 z" fill="{colour}"/>')
    return lines


def _structure(svg: str) -> list[str]:
    """Return the lines of a picture without the purposes: these may change their words between two drawings."""
    return [line for line in svg.splitlines() if 'class="purpose"' not in line]


def main() -> int:
    """Write or check the picture and print each room's share; 1 where an arrow or a share is wrong, or it is stale."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages.rooms", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("picture", type=Path, nargs="?", default=ROOT / "docs" / "rooms.svg")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the picture is stale")
    options = parser.parse_args()
    rooms = {name: read(name) for name in ORDER}
    wrong, drawn = faults(rooms), picture(rooms)
    if not options.check:
        options.picture.write_text(drawn, encoding="utf-8")
        total = sum(room.lines for room in rooms.values())
        for room in rooms.values():
            print(f"{room.name:12} {room.lines:6} lines {room.lines / total:4.0%}")
    elif not options.picture.exists() or _structure(options.picture.read_text(encoding="utf-8")) != _structure(drawn):
        wrong.append(f"{options.picture} is not what the code says any more; run `make picture` and commit it.")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
