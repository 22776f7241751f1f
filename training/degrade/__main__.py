"""The command `python -m training.degrade SRC... -o OUT`: writes degraded copies of clean material, and draws.json."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from contract.errors import BadInput, PermanentError, UsageError
from training.degrade import film, picture
from training.degrade.damage_file import Damage, read_damage
from training.degrade.draw import Draw, draw


class Entry(msgspec.Struct, frozen=True):
    """One entry of draws.json: a source by name, its draw (for a film, one for each shot), and notes.

    `frames` names the file with the draws of a film's frames, one a line.
    """

    source: str
    copy: str
    scale: float
    draws: tuple[Draw, ...]
    notes: tuple[str, ...] = ()
    frames: str = ""


def degrade_file(source: Path, out: Path, seed: int, damage: Damage, scale: float) -> Entry:
    """Degrade one image or film into the folder `out`; raise BadInput when it is neither.

    Every image, and every shot of a film, has its own seed, which is derived from `seed` and the file's name.
    """
    suffix = source.suffix.lower()
    if suffix in picture.SUFFIXES:
        copy = out / f"{source.stem}.png"
        drawn = damage.draw(_seed(seed, source.name, 0))
        notes = picture.degrade_picture(source, copy, drawn, scale)
        return Entry(source.name, copy.name, scale, (drawn,), notes)
    if suffix in film.SUFFIXES:
        copy = out / f"{source.stem}.mp4"
        draws, left = film.degrade_film(source, copy, lambda n: _shot(seed, source.name, n, damage), scale)
        return Entry(source.name, copy.name, scale, tuple(draws), tuple(left), film.record_of(copy).name)
    raise BadInput(
        f"{source.name} is neither an image ({', '.join(picture.SUFFIXES)}) nor a film ({', '.join(film.SUFFIXES)}); "
        "convert it or leave it out."
    )


_FILES = frozenset((*picture.SUFFIXES, *film.SUFFIXES))
"""Suffixes by which OUT names a file, the copy itself, and not a folder."""


def degrade_to(sources: tuple[Path, ...], out: Path, seed: int, damage: Damage, scale: float) -> Entry:
    """Degrade the only source into the file `out`, with its draw in OUT.json beside it; raise UsageError unless they fit."""
    if len(sources) != 1 or not sources[0].is_file():
        raise UsageError(f"{out} is one file, so it takes one source that is a file; name a folder for several.")
    wanted = ".png" if sources[0].suffix.lower() in picture.SUFFIXES else ".mp4"
    if out.suffix.lower() != wanted:
        raise UsageError(f"the copy of {sources[0].name} is a {wanted} file; name it {out.with_suffix(wanted).name}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".degrade-") as folder:
        made = degrade_file(sources[0], Path(folder), seed, damage, scale)
        record = film.record_of(out).name if made.frames else ""
        if record:
            (Path(folder) / made.frames).replace(out.with_name(record))
        (Path(folder) / made.copy).replace(out)
    entry = msgspec.structs.replace(made, copy=out.name, frames=record)
    out.with_name(out.name + ".json").write_bytes(msgspec.json.format(msgspec.json.encode([entry]), indent=1) + b"\n")
    return entry


def paper(order: int) -> Damage:
    """Return the paper's damage in one pass or two."""
    return Damage(order=2 if order == 2 else 1)


def _shot(seed: int, name: str, shot: int, damage: Damage) -> Draw:
    """Draw the degradation of a shot; what is drawn for its frames depends on their numbers in the film, not on the shot's."""
    drawn = damage.draw(_seed(seed, name, shot))
    if drawn.film is None:
        return drawn
    return msgspec.structs.replace(drawn, film=msgspec.structs.replace(drawn.film, frames=_seed(seed, name, "frames")))


def _seed(seed: int, name: str, shot: int | str) -> int:
    mixed = msgspec.json.encode((seed, name, shot))
    # Python's own hash() differs from process to process.
    return int.from_bytes(hashlib.sha256(mixed).digest()[:6], "big")


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write to, or a .png or .mp4 file for one source.",
)
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal copies.")
@click.option("--order", default=2, show_default=True, help="1: one pass; 2: the paper's two passes and sinc filter.")
@click.option(
    "--damage", "file", type=click.Path(path_type=Path), help="Damage file to draw from, instead of the paper's."
)
@click.option("-s", "--scale", default=4.0, show_default=True, help="Factor by which the copies are smaller.")
def main(sources: tuple[Path, ...], out: Path, seed: int, order: int, file: Path | None, scale: float) -> None:
    """Degrade clean images and films as in the Real-ESRGAN paper, and record every draw in OUT/draws.json and, of frames, beside a film."""
    try:
        damage = read_damage(file) if file else None
        if out.suffix.lower() in _FILES and not out.is_dir():
            entries, failed = [degrade_to(sources, out, seed, damage or paper(order), scale)], list[str]()
            out = out.parent
        else:
            entries, failed = run(sources, out, seed, order, scale, damage)
    except PermanentError as error:
        click.echo(f"respool degrade: {error}", err=True)
        sys.exit(2)
    for entry in entries:
        click.echo(f"{entry.source} -> {out / entry.copy}")
        for note in entry.notes:
            click.echo(f"  note: {note}", err=True)
    for reason in failed:
        click.echo(f"failed: {reason}", err=True)
    sys.exit(1 if failed else 0)


def run(
    sources: tuple[Path, ...], out: Path, seed: int, order: int, scale: float, damage: Damage | None = None
) -> tuple[list[Entry], list[str]]:
    """Degrade every source (folders recursively, by name); return the entries written and the reasons of failures.

    `damage` is drawn from, by default the paper's of that order.
    """
    draw(seed, order)
    damage = damage or paper(order)
    files: list[Path] = []
    for source in sources:
        if not source.exists():
            raise UsageError(f"{source} does not exist; name images, films or folders of them.")
        known = (*picture.SUFFIXES, *film.SUFFIXES)
        found = (f for f in source.rglob("*") if f.is_file() and f.suffix.lower() in known)
        files += sorted(found) if source.is_dir() else [source]
    stems = [file.stem for file in files]
    doubled = next((file.name for file in files if stems.count(file.stem) > 1), None)
    if doubled:
        raise UsageError(
            f"two sources have the name {doubled!r} apart from the suffix, so their copies would be one file; rename one."
        )
    out.mkdir(parents=True, exist_ok=True)
    entries, failed = [], []
    for file in files:
        try:
            entries.append(degrade_file(file, out, seed, damage, scale))
        except BadInput as error:
            failed.append(str(error))
    (out / "draws.json").write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n")
    return entries, failed


if __name__ == "__main__":
    main()
