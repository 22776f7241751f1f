"""Assembly of a mask film: the chunks' mask films joined with the frame times of the source, checked as results are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from contract.film import FilmIndex
from contract.job import Done, Item, Job, Output
from contract.masks import mask_encoding, mask_making, masks_of
from orchestrator.assemble.film import assemble_film
from orchestrator.assemble.verify import verify_film
from orchestrator.witness.delivery_check import Delivery
from orchestrator.witness.film_check import witness_result
from stores.object_store import ObjectStore

Parts = Callable[[Iterable[Output], Path, Callable[[], None]], Iterator[BinaryIO]]
"""Function that yields stored outputs one by one, each in the file that it is given, and calls a checkpoint before each."""


def mask_index(index: FilmIndex) -> FilmIndex:
    """Return the index of a film's mask film: the source's size and frame times, in Matroska, with nothing but the picture."""
    return replace(
        index,
        encoding=mask_encoding((index.width, index.height), index.encoding.rate, index.encoding.sar),
        container="matroska",
        streams=tuple(stream for stream in index.streams if stream.index == index.stream),
        captions=0,
        time_marks=(),
        notes=(),
        losses=(),
    )


@dataclass(frozen=True)
class MaskAssembly:
    """Assembly of the mask film of `item`; `source` opens its source anew, and `film` is its index with its SHA-256 in the plan."""

    job: Job
    item: Item
    film: tuple[FilmIndex, str]
    storage: ObjectStore
    source: Callable[[], BinaryIO]

    def write(
        self, out: Path, commits: Sequence[Done], parts: Parts, checkpoint: Callable[[], None]
    ) -> dict[str, object]:
        """Write the mask film to `out` from the mask films of `commits`; return for the record what a second decoder read.

        Raises VerifyError for a mask film that has not the film's frames at the source's times.
        """
        index, sha256 = mask_index(self.film[0]), self.film[1]
        frames = sum(commit.frames for commit in commits)
        chunks = parts(map(masks_of, commits), out.with_name("chunk"), checkpoint)
        # Its notes, on missing frames and the source's tags, are the film's, too.
        assemble_film(index, self.job.spec, self.source(), chunks, out, 0, mask_making(self.job, self.item))
        verify_film(out, index, self.job.spec, self.source(), frames)
        read = witness_result(self.job, self.item, (index, sha256), Delivery(out, frames), self.storage, checkpoint)
        return {"masks": read} if read else {}
