"""A damage file: the ranges of an archive's damage, in TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from contract.errors import UsageError
from training.degrade.draw import Draw, draw
from training.degrade.ranges import FilmRanges, Ranges

_MOST_BYTES = 1 << 20


class Damage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of a damage file. `order` is the number of passes; `notes` name properties that could not be measured.

    The defaults are the generic second-order degradation of the Real-ESRGAN paper.
    """

    version: Literal[1] = 1
    order: Literal[1, 2] = 2
    ranges: Ranges = Ranges()
    notes: tuple[str, ...] = ()

    def draw(self, seed: int) -> Draw:
        """Draw one degradation; equal seeds give equal draws."""
        return draw(seed, self.order, self.ranges)

    def plain(self) -> dict[str, Any]:
        """Return the damage as plain values, for a run's document."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


GENERIC = Damage()


def read_damage(path: Path) -> Damage:
    """Read a damage file; raise UsageError, with the key, if it is invalid."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} has {path.stat().st_size} bytes, too many for a damage file; name another.")
        damage = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Damage)
    except OSError as error:
        raise UsageError(f"damage file {path} cannot be read: {error.strerror or error}; name another.") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"{path} is not a damage file: {error}; docs/training.md lists the keys, `respool damage measure` writes one."
        ) from error
    check(damage, str(path))
    return damage


def check(damage: Damage, where: str) -> None:
    """Raise UsageError, naming `where`, for a range whose ends are in the wrong order or for kernel shares that sum to 0."""
    for part in (damage.ranges.first, damage.ranges.second, damage.ranges.film):
        for name in part.__struct_fields__:
            value = getattr(part, name)
            if (
                isinstance(value, tuple)
                and len(value) == 2
                and isinstance(value[0], int | float)
                and value[0] > value[1]
            ):
                raise UsageError(f"{where} has {name} = {list(value)}: the first number must be the smaller one.")
        if not isinstance(part, FilmRanges) and sum(part.shapes.values()) <= 0:
            raise UsageError(f"{where} gives no kernel shape a share; set shapes = {{ iso = 1.0 }} for example.")


def write_damage(path: Path, damage: Damage, comments: tuple[str, ...] = ()) -> None:
    """Write `damage` as TOML, with `comments` at its head."""
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    plain = damage.plain()
    lines += [f"version = {damage.version}", f"order = {damage.order}", f"notes = {_value(plain['notes'])}"]
    ranges = plain["ranges"]
    lines.append("\n[ranges]")
    lines += [f"{key} = {_value(value)}" for key, value in ranges.items() if not isinstance(value, dict)]
    for table in ("first", "second", "film"):
        if table == "second" and damage.order == 1:
            continue
        lines.append(f"\n[ranges.{table}]")
        lines += [f"{key} = {_value(value)}" for key, value in ranges[table].items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()  # JSON's strings are TOML's basic strings
    return repr(value)
