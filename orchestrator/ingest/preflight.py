"""Forecast of each picture's result and losses, from its header and metadata alone: no pixel of a source is decoded."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from contract.errors import RespoolError
from contract.job import Spec
from contract.severity import losses
from media.images import metadata_transfer
from media.images.header import Picture, read_pages
from media.images.metadata import Metadata
from media.images.output_plan import Target, choose, choose_for, result_name

_WRITERS = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP"}


@dataclass(frozen=True)
class Preflight:
    """The result's name, the source's header, and all notes that a restoration would give besides those on pixels."""

    result: str
    picture: Picture
    notes: tuple[str, ...]

    @property
    def losses(self) -> tuple[str, ...]:
        """List what the source has and its result would lack."""
        return losses(self.notes)


def preflight(file: Path, name: str, spec: Spec, network_scale: int) -> Preflight:
    """Plan `file`, called `name`, under `spec`; raise BadInput or Unsupported for a picture that would fail."""
    pages, notes = read_pages(file, name)
    result = result_name(name, choose(pages[0].picture, name, spec, network_scale))
    for page in pages:
        target = choose_for(page.picture, result, spec, network_scale)
        metadata, said = metadata_transfer.metadata_for(file, page, target, name)
        notes += [*target.notes, *said]
        if len(pages) == 1:
            notes += _unwritable(metadata, target)
    return Preflight(result, pages[0].picture, tuple(dict.fromkeys(notes)))


def _unwritable(metadata: Metadata, target: Target) -> list[str]:
    """Return what the result's format cannot hold, by writing the metadata around a picture of one pixel."""
    form = _WRITERS.get(target.format)
    if form is None:
        return []
    with tempfile.TemporaryDirectory(prefix="respool-") as folder:
        plain, out = Path(folder) / "plain", Path(folder) / "out"
        Image.new("RGB", (1, 1)).save(plain, form)
        try:
            return metadata_transfer.attach(plain, metadata, target, out)
        except RespoolError as error:
            return [str(error)]
