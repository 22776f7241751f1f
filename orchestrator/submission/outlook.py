"""The outlook of a job before it starts: what becomes of each source, in three lines, and the disk that it needs. Pure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import UsageError
from contract.film import FilmIndex
from contract.severity import grouped, losses
from media.nvenc import ENCODERS as CARDS
from orchestrator.submission.expected_size import expected_bytes

_SHOWN = 3
"""Films that are described one by one."""
_SPARE = 64 << 20
"""Bytes of a disk that are left free."""
_LEAST_BITS = {"ffv1": 0.12, "prores": 0.08}
"""Bits a pixel of a black film, below which nothing stays, by codec; others may be as small as a still picture."""


@dataclass(frozen=True)
class FilmOutlook:
    """A film as it will be restored."""

    name: str
    size: int
    index: FilmIndex

    @property
    def least(self) -> int:
        """Bytes of the result that are certain, a lower bound."""
        encoding = self.index.encoding
        bits = _LEAST_BITS.get(encoding.codec, 0.0) * encoding.width * encoding.height * self.index.frames
        return int(bits / 8)

    @property
    def expected(self) -> tuple[int, int]:
        """Bytes of the result, as a range in which nine of ten lie."""
        return expected_bytes(self.index, self.size)

    def line(self) -> str:
        """Describe the film, its conversions and its streams in one line."""
        index, encoding = self.index, self.index.encoding
        converted = "".join(f"{done}, " for done in _conversions(index))
        copied = sum(stream.copied for stream in index.streams)
        kept = f", {copied} other stream{'' if copied == 1 else 's'} copied" if copied else ""
        piece = index.piece
        which = f"{index.frames} frames" if piece is None else f"{piece.words}, {index.frames} frames"
        return (
            f"{self.name}: {which} of {index.width}x{index.height} become {converted}"
            f"{encoding.width}x{encoding.height} {encoding.codec} {encoding.pix_fmt} in {index.container}{kept}"
        )


def _conversions(index: FilmIndex) -> list[str]:
    """List what is done to the film's frames before they are enhanced."""
    return [*["deinterlaced"] * index.deinterlace, *index.time_filters]


def describe(
    films: Sequence[FilmOutlook], images: int, megapixels: float, notes: Sequence[str], time: str = ""
) -> list[str]:
    """Say what will happen: a line for each of the first films, one for images, the size of films, the `time`, and each loss."""
    lines = [film.line() for film in films[:_SHOWN]]
    if len(films) > _SHOWN:
        turned = sum(film.index.deinterlace for film in films[_SHOWN:])
        also = f", {turned} of them deinterlaced" if turned else ""
        lines.append(f"and {len(films) - _SHOWN} more films{also}; `respool probe` shows each")
    if images:
        lines.append(
            f"{images} image{'' if images == 1 else 's'} of {megapixels:.{1 if megapixels >= 10 else 2}f} megapixels"
        )
    if films:
        lines.append(size_line(films, bool(images)))
    if time:
        lines.append(time)
    lost = [note for film in films for note in losses(film.index.notes)] + list(losses(notes))
    return lines + [f"loss: {loss}" for loss in grouped(lost)]


def size_line(films: Sequence[FilmOutlook], others: bool = False) -> str:
    """Say how large the restored films will be; `others` tells that there are images, whose sizes are not estimated."""
    low, high = (sum(sizes) for sizes in zip(*(film.expected for film in films), strict=True))
    which = ", films alone" if others else ""
    guess = "; sizes of cards' encoders are a guess" if any(f.index.encoding.codec in CARDS for f in films) else ""
    return f"size: {byte_range(low, high)}{which}, by codec, scale and the source's own bits{guess}"


def byte_range(low: int, high: int) -> str:
    """Format two numbers of bytes in the unit of the larger, with two digits that count."""
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if high >= unit), (1e3, "kB"))
    return f"{_two_digits(low / unit)} to {_two_digits(high / unit)} {name}"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def refuse_full_disk(films: Sequence[FilmOutlook], sources: int, state: Path | None, out: Path) -> str:
    """Raise UsageError where the disks of the embedded cluster and of the results cannot even hold what is certain.

    Return a warning where they may be too small for what is expected, else "". The store keeps the sources (`sources` bytes), each
    chunk's result and the finished film; OUT gets the film once more. All that the store holds already may be of this job, begun
    earlier, and is not asked for again.
    """
    for folder, free, size in _short_of(sum(film.least for film in films), sources, state, out):
        raise UsageError(
            f"the disk of {folder} has {free / 1e9:.2f} GB to spare, but this job needs at least {size / 1e9:.2f} GB there; "
            "free some, or name another disk with --state and -o."
        )
    for folder, free, size in _short_of(sum(film.expected[1] for film in films), sources, state, out):
        return (
            f"disk: {folder} has {free / 1e9:.2f} GB to spare, and this job may need up to {size / 1e9:.2f} GB there; "
            "--state and -o name other disks"
        )
    return ""


def _short_of(result: int, sources: int, state: Path | None, out: Path) -> Iterator[tuple[Path, int, int]]:
    """Yield each disk that is too small for results of `result` bytes: a folder on it, its free bytes and those needed."""
    held = 0 if state is None else sum(p.stat().st_size for p in (state / "s3").rglob("*") if p.is_file())
    needs: dict[int, tuple[Path, int]] = {}
    for place, size in ((state, max(0, sources + 2 * result - held)), (out, result)):
        if place is None:
            continue
        folder = next(p for p in (place.absolute(), *place.absolute().parents) if p.is_dir())
        device = folder.stat().st_dev
        needs[device] = folder, needs.get(device, (folder, 0))[1] + size
    for folder, size in needs.values():
        free = max(0, shutil.disk_usage(folder).free - _SPARE)
        if size > free:
            yield folder, free, size
