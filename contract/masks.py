"""Mask films: films of what filters over time changed, one beside each film's result. The meaning of their values, and their tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from contract.errors import VerifyError
from contract.film import Colour, Encoding
from contract.job import Done, Item, Job, JobId, Natural, Output, Positive, Sha256, Spec
from contract.provenance import software
from contract.time_filters import DIRT, GRAIN, SCRATCHES, TimeFilter, asked

FILLED: Mapping[str, int] = {DIRT.name: 255, SCRATCHES.name: 192}
"""Values of pixels that a filter filled, by its name."""
MOST = 128
"""Value of pixels that other filters changed by this much or more: filled ones are told from them by a threshold."""
OPTIONS = {"level": "3", "slicecrc": "1", "g": "1", "context": "0", "coder": "1"}
"""FFmpeg's options of FFV1: each frame stands alone, so that chunks of any size give the same bytes, and has checksums."""
TAG = "RESPOOL_MASKS"
"""The tag of a mask film that holds `MaskMaking` as JSON."""


class MaskMaking(Struct, frozen=True, forbid_unknown_fields=True):
    """Provenance of a mask film, embedded in it. `values` are those of `FILLED`, `filters` the options that it shows."""

    software: str
    job: JobId
    item: Natural
    source: str
    source_sha256: Sha256
    result: str
    filters: tuple[str, ...]
    values: dict[str, int]
    version: Literal[1] = 1

    @property
    def statement(self) -> str:
        """The sentence about its values that every mask film carries."""
        filled = "".join(f"{value} filled by --{name}, " for name, value in self.values.items())
        return (
            f"Mask film of {self.result}: {filled}1 to {MOST} the largest change by another of {', '.join(self.filters)} in code "
            f"values of 8 bits ({MOST}: as much or more), 0 not changed; made by {self.software}."
        )


def shown(spec: Spec) -> tuple[TimeFilter, ...]:
    """List the filters of `spec` whose changes a mask film shows: all but grain, which is put back."""
    return tuple(one for one in asked(spec) if one is not GRAIN)


def mask_encoding(size: tuple[int, int], rate: tuple[Positive, Positive], sar: tuple[Natural, Natural]) -> Encoding:
    """Return the encoding of a mask film's chunks: FFV1, grey of 8 bits, full range; `size` is the source's width and height."""
    grey = Colour("grey", True, range=2)
    return Encoding("ffv1", "ffv1", "gray", size[0], size[1], rate, dict(OPTIONS), grey, sar=sar)


def results_of(done: Done) -> tuple[Output, ...]:
    """Return the outputs of a commit that are results, one of each item: of a film the first, since its mask film comes second."""
    return tuple({output.item: output for output in reversed(done.outputs)}.values())


def masks_of(done: Done) -> Output:
    """Return the output of a film's commit that is its mask film; raise VerifyError where there is none."""
    if len(done.outputs) != 2:
        raise VerifyError(f"chunk {done.chunk} has no mask film; submit the film again with a changed --chunk-frames.")
    return done.outputs[1]


def mask_making(job: Job, item: Item) -> MaskMaking:
    """Build the provenance of the mask film of `item`."""
    filters = shown(job.spec)
    return MaskMaking(
        software=software(),
        job=job.id,
        item=item.n,
        source=item.name,
        source_sha256=item.sha256,
        result=item.result,
        filters=tuple(one.option for one in filters),
        values={one.name: FILLED[one.name] for one in filters if one.name in FILLED},
    )


def mask_tags(made: MaskMaking) -> dict[str, str]:
    """Return the tags of a mask film."""
    return {"comment": made.statement, TAG: msgspec.json.encode(made, order="deterministic").decode()}


def read_mask_tag(record: str) -> MaskMaking | None:
    """Return the MaskMaking that `mask_tags` wrote; None for anything else."""
    try:
        return msgspec.json.decode(record, type=MaskMaking)
    except msgspec.DecodeError:
        return None
