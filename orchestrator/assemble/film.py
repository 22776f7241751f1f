"""Putting a film together: the chunks' packets with the index's own timestamps, everything else copied. Nothing is
decoded or encoded, and memory does not grow with the film."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

from contract.film import FilmIndex, unpack
from contract.media import open_media
from orchestrator.assemble.copy import Copier
from orchestrator.assemble.join import ChunkJoiner
from orchestrator.assemble.mux import open_result

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
    pts = unpack(index.pts)
    with (
        ChunkJoiner(index, pts, chunks, reorder) as film,
        open_media(source, "the source") as container,
    ):
        outlet = open_result(out, index, spec, container, film.template, starts_late=bool(pts[0]))
        with outlet.container:
            copier = Copier(container, outlet, index)
            for packet in film:
                copier.up_to(packet)
                packet.stream = outlet.film
                outlet.container.mux(packet)
            copier.rest()
    return [*index.notes, *film.notes, *copier.notes]
