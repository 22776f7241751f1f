"""Assembly of a film: the chunks' packets with the index's timestamps, everything else copied.

Nothing is decoded or encoded, and memory does not grow with the film.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import av.error

from contract.errors import VerifyError
from contract.film import FilmIndex
from contract.severity import marked
from media.codecs import SUFFIXES
from media.opening import open_media, reason
from orchestrator.assemble.captions import Captions, caption_notes
from orchestrator.assemble.concat import ChunkJoiner
from orchestrator.assemble.matroska_aspect import set_sample_aspect
from orchestrator.assemble.matroska_clock import set_tick
from orchestrator.assemble.mux import open_result, result_tick
from orchestrator.assemble.packet_spool import Spool
from orchestrator.assemble.stream_copy import Copies, misnamed_sound, read_covers
from orchestrator.assemble.tags import lost_tags, wanted_tags
from orchestrator.assemble.verify import check_copies

if TYPE_CHECKING:
    from pathlib import Path

    from contract.job import Spec
    from contract.masks import MaskMaking
    from contract.provenance import Making


@dataclass(frozen=True)
class Assembled:
    """Notes about a written film, and the streams of the source of which it has not all packets, as a note says."""

    notes: list[str]
    fewer: frozenset[int]


def assemble_film(
    index: FilmIndex,
    spec: Spec,
    source: BinaryIO,
    chunks: Iterable[BinaryIO],
    out: Path,
    reorder: int | None = None,
    made: Making | MaskMaking | None = None,
    captions: Captions | None = None,
) -> Assembled:
    """Write the finished film to `out`; return notes for the user, those of the index among them.

    There is one encoded chunk for each of `index.chunks` in order (empty where a chunk gave no frame); `source` is
    seekable. `made` is the provenance record for the tags, `captions` are those of `read_captions`. `reorder` is the largest FilmResult.reorder of all chunks;
    without it the encoder's announced value is used. Chunks are read once, one after the other, so each may be removed
    when the next is asked for. Raises VerifyError when chunks do not belong together.
    """
    covers = read_covers(source, index)
    frames = misnamed_sound(source, index)
    with ChunkJoiner(index, chunks, reorder, captions) as film, Spool(out.parent) as spool:
        with open_media(source, "the source") as container:
            move = film.shift * Fraction(*index.time_base)
            outlet = open_result(out, index, spec, container, film.template, covers, made, move, frames)
            tags = wanted_tags(container, index)
            copies = Copies(index, outlet, spool, move)
            copies.read(container)
        try:
            with outlet.container, copies:
                for packet in film:
                    copies.up_to(packet)
                    packet.stream = outlet.film
                    outlet.mux(packet)
        except av.error.FFmpegError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise OSError(error.errno, error.strerror, str(out)) from error  # nothing is wrong with the film
            raise VerifyError(
                f"the .{SUFFIXES[index.container]} could not be written ({reason(error)}); name the result .mkv, and report "
                "this as a defect."
            ) from error
    copied = copies.copied
    slower = outlet.slower
    del outlet
    if slower > 1:
        set_tick(out, result_tick(index))
    if index.container in ("matroska", "webm") and index.sar[0] != index.sar[1] and 0 not in index.sar:
        set_sample_aspect(out, index.sar)
    check_copies(out, index, copied)
    said = caption_notes(captions or {}, index)
    notes = [*marked(index.notes, index.losses), *film.notes, *said, *copies.notes, *lost_tags(tags, out, index)]
    return Assembled(notes, copies.fewer)
