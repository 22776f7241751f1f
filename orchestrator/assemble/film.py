"""Putting a film together: the chunks' packets with the index's own timestamps, everything else copied. Nothing is
decoded or encoded, and memory does not grow with the film."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

from contract.film import FilmIndex
from contract.media import open_media
from orchestrator.assemble.aspect import set_sample_aspect
from orchestrator.assemble.copy import Copier, read_covers
from orchestrator.assemble.join import ChunkJoiner
from orchestrator.assemble.mux import open_result
from orchestrator.assemble.tags import lost_tags
from orchestrator.assemble.verify import check_copies

if TYPE_CHECKING:
    from pathlib import Path

    from contract.job import Spec


def assemble_film(
    index: FilmIndex, spec: Spec, source: BinaryIO, chunks: Iterable[BinaryIO], out: Path, reorder: int | None = None
) -> list[str]:
    """Write the finished film to `out` from its encoded chunks, one for each of `index.chunks` in order (empty where a
    chunk gave no frame), and `source` (seekable); returns notes for the user, those of the index among them.

    `reorder` is the largest FilmResult.reorder of all chunks; without it the encoder's own promise is used. Chunks are
    read once, one after the other, so each may be gone when the next is asked for. Raises VerifyError when they do not
    belong together.
    """
    covers = read_covers(source, index)
    with (
        ChunkJoiner(index, chunks, reorder) as film,
        open_media(source, "the source") as container,
    ):
        outlet = open_result(out, index, spec, container, film.template, covers)
        with outlet.container:
            copier = Copier(container, outlet, index, film.shift)
            for packet in film:
                copier.up_to(packet)
                packet.stream = outlet.film
                outlet.container.mux(packet)
            copier.rest()
            copied = copier.copied
        if index.container in ("matroska", "webm") and index.sar[0] != index.sar[1] and 0 not in index.sar:
            set_sample_aspect(out, index.sar)
        check_copies(out, index, copied)
        return [*index.notes, *film.notes, *copier.notes, *lost_tags(container, out, index)]
