"""Assembly of a large image from its bands: a TIFF copies their strips, other formats are encoded once, in a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from contract.errors import BadInput, VerifyError
from contract.job import Item, Spec
from contract.provenance import Making
from contract.severity import refusal
from media.images import metadata_transfer
from media.images.header import read_pages
from media.images.metadata_tiff import write as write_tiff
from media.images.output_plan import choose_for
from media.images.pixels import JoinedBands, encode


def assemble_image(
    source: BinaryIO,
    item: Item,
    spec: Spec,
    network_scale: int,
    bands: Sequence[Path],
    out: Path,
    made: Making | None = None,
) -> list[str]:
    """Put `bands` (from the top, as workers made them) together into `out`, with the metadata of `source`; returns notes.

    `made` is what the result says about itself in XMP.
    Memory is bounded. Raises BadInput, Unsupported or IntegrityError for what cannot be put together, VerifyError when the
    result is not of the planned size.
    """
    pages, notes = read_pages(source, item.name)
    picture = pages[0].picture
    target = choose_for(picture, item.result, spec, network_scale)
    metadata, said = metadata_transfer.metadata_for(source, pages[0], target, item.name)
    notes += [*target.notes, *said]
    size = (target.width, target.height)
    if target.format == "tiff":
        metadata, said = metadata_transfer.told(metadata, made, bands)
        notes += said
        write_tiff([bands], [metadata], [size], out)
    else:
        plain = out.with_name(out.name + ".plain")
        try:
            inside = metadata_transfer.told(metadata, made, [])[0] if target.format == "avif" else None
            encode(JoinedBands(bands, target), target, inside, plain, item.name)
            if target.format != "avif":
                metadata, said = metadata_transfer.told(metadata, made, [plain])
                notes += said
            notes += metadata_transfer.attach(plain, metadata, target, out)
        finally:
            plain.unlink(missing_ok=True)
    result = read_pages(out, item.result)[0][0].picture
    if (result.width, result.height) != size:
        raise VerifyError(
            f"{item.result} came out as {result.width}x{result.height}, not {target.width}x{target.height}; retry the job."
        )
    why = refusal(item.name, notes) if spec.strict else ""
    if why:
        raise BadInput(why)
    return notes
