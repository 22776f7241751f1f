"""The outlook of a job before it starts: what becomes of each source, in three lines, and the disk that it needs. Pure."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import UsageError
from contract.film import FilmIndex
from contract.severity import grouped, losses

_SHOWN = 3
"""Films that are described one by one."""
_SPARE = 64 << 20
"""Bytes of a disk that are left free."""
_LEAST_BITS = {"ffv1": 2.0, "prores": 0.6}
"""Bits a pixel of a film that no natural material stays below, by codec; others may be as small as a still picture."""


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

    def line(self) -> str:
        """Describe the film, its conversions and its streams in one line."""
        index, encoding = self.index, self.index.encoding
        converted = "deinterlaced, " if index.deinterlace else ""
        copied = sum(stream.copied for stream in index.streams)
        kept = f", {copied} other stream{'' if copied == 1 else 's'} copied" if copied else ""
        return (
            f"{self.name}: {index.frames} frames of {index.width}x{index.height} become {converted}"
            f"{encoding.width}x{encoding.height} {encoding.codec} {encoding.pix_fmt} in {index.container}{kept}"
        )


def describe(films: Sequence[FilmOutlook], images: int, megapixels: float, notes: Sequence[str]) -> list[str]:
    """Say what will happen: a line for each of the first films, one for images, and each loss."""
    lines = [film.line() for film in films[:_SHOWN]]
    if len(films) > _SHOWN:
        turned = sum(film.index.deinterlace for film in films[_SHOWN:])
        also = f", {turned} of them deinterlaced" if turned else ""
        lines.append(f"and {len(films) - _SHOWN} more films{also}; `respool probe` shows each")
    if images:
        lines.append(
            f"{images} image{'' if images == 1 else 's'} of {megapixels:.{1 if megapixels >= 10 else 2}f} megapixels"
        )
    lost = [note for film in films for note in losses(film.index.notes)] + list(losses(notes))
    return lines + [f"loss: {loss}" for loss in grouped(lost)]


def refuse_full_disk(films: Sequence[FilmOutlook], sources: int, state: Path | None, out: Path) -> None:
    """Raise UsageError where the disks of the embedded cluster and of the results cannot even hold what is certain.

    The store keeps the sources (`sources` bytes), each chunk's result and the finished film; OUT gets the film once more. All that the
    store holds already may be of this job, begun earlier, and is not asked for again.
    """
    result = sum(film.least for film in films)
    held = 0 if state is None else sum(p.stat().st_size for p in (state / "s3").rglob("*") if p.is_file())
    needs: dict[int, tuple[Path, int]] = {}
    for place, size in ((state, max(0, sources + 2 * result - held)), (out, result)):
        if place is None:
            continue
        folder = next(p for p in (place.absolute(), *place.absolute().parents) if p.is_dir())
        device = folder.stat().st_dev
        needs[device] = folder, needs.get(device, (folder, 0))[1] + size
    for folder, size in needs.values():
        free = shutil.disk_usage(folder).free - _SPARE
        if size > free:
            raise UsageError(
                f"the disk of {folder} has {max(0, free) / 1e9:.2f} GB to spare, but this job needs at least {size / 1e9:.2f} GB there; "
                "free some, or name another disk with --state and -o."
            )
