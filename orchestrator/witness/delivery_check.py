"""The check of what is delivered of a film, before it is called done: the result and the files beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from contract.errors import BadInput, VerifyError
from contract.film import FilmIndex
from contract.job import Item, Witness
from media.likeness import SIZE
from media.opening import open_media
from orchestrator.witness.expectation import Heard, expected_result, unjudged
from orchestrator.witness.likeness_check import unlike
from orchestrator.witness.result_check import delivered_film, faults, lost_subtitles
from orchestrator.witness.result_reading import ReadStream, canonical, read_result, sampled, summary
from orchestrator.witness.sidecar_check import sidecar_faults
from orchestrator.witness.source_reading import SoundReading, count_packets, read_copies

TEXTS = frozenset(("subrip", "ass", "mov_text", "webvtt", "text"))
"""Subtitles of text (FFmpeg's names), of which every packet is one; pictures are cut in other ways by each container."""


@dataclass(frozen=True)
class Delivery:
    """A written result before it is stored: its file, frames, `fewer` (streams not copied in full), and files beside it.

    `looks` are the coarse pictures of its frames before they were enhanced; None where workers made none.
    """

    path: Path
    frames: int
    fewer: frozenset[int] = frozenset()
    beside: Mapping[str, bytes] = field(default_factory=dict)
    looks: bytes | None = None


def check_delivery(
    delivery: Delivery,
    index: FilmIndex,
    source: BinaryIO,
    item: Item,
    choice: Witness,
    sound: Sequence[SoundReading],
    checkpoint: Callable[[], None] = lambda: None,
) -> dict[str, object]:
    """Return the record of a result that holds what its `source` asks for; raise VerifyError for any other.

    `sound` is the source's where that was read whole. With the choice ``sample``, pictures and sound are decoded up to a
    tenth of the film, and all packets are counted.
    """
    began = time.process_time()
    try:
        with delivery.path.open("rb") as file:
            reading = read_result(file, "the result", sampled(choice, delivery.frames), checkpoint)
    except BadInput as error:
        raise VerifyError(f"the result cannot be read: {error}") from error

    def decoded(streams: Collection[int]) -> dict[int, Heard]:
        return read_copies(source, index, streams, item.name, checkpoint)

    subtitles = {s.index for s in index.streams if s.copied and canonical(s.codec) in TEXTS} - delivery.fewer
    counted = count_packets(source, index, subtitles, item.name, checkpoint)

    def held(heard: Mapping[int, Heard]) -> tuple[list[str], ReadStream | None]:
        others = decoded(unjudged(reading, index, heard))
        with open_media(source, item.name) as container:
            expected = expected_result(index, container, delivery.frames, {**heard, **others}, delivery.fewer)
        found = [*faults(reading, expected), *lost_subtitles(reading, expected, counted)]
        return found, delivered_film(reading, expected)

    found, film = held({s.stream: Heard(s.samples, s.complained) for s in sound})
    if found and sound:
        found = min(found, held({})[0], key=len)  # damaged sources have other sound when they are read without pictures
    if delivery.looks is not None and film is not None:
        found += unlike(delivery.looks, film.looks)
    found += sidecar_faults(delivery.beside, index, item.result, decoded)
    if found:
        more = f" (and {len(found) - 1} more faults)" if len(found) > 1 else ""
        raise VerifyError(
            f"the result is not delivered: {found[0]}{more}. Report this film as a defect; --witness off delivers it as it is."
        )
    compared = 0 if delivery.looks is None or film is None else len(film.looks) // SIZE
    return summary(reading) | {"frames_compared": compared, "cpu_s": round(time.process_time() - began, 3)}
