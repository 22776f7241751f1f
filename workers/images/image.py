"""Enhancement of one still image, or a band of one, block by block, into a file with the source's metadata.

Rows are read once from top to bottom and results are written to a scratch file of raw pixels, so that memory depends
on the width of the image and on the size of a block, but not on the height.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyvips

from contract.errors import BadInput, StorageError
from contract.job import Spec
from contract.provenance import Making
from contract.severity import about, refusal
from media.images import metadata_transfer
from media.images.bands import band_rows
from media.images.header import Page, Picture, read_pages
from media.images.metadata import Metadata
from media.images.metadata_tiff import write as write_tiff
from media.images.output_plan import Target, choose_for
from media.images.pixels import RawPixels, encode, sample_type
from workers.generators.enhancer import Enhancer
from workers.images.block_painter import Painter, interpretation_of
from workers.images.blocks import blocks
from workers.images.rows import Rows, to_samples
from workers.images.source_check import SourceCheck

if TYPE_CHECKING:
    from workers.faces.enhance import FaceRestorer


@dataclass(frozen=True)
class ImageResult:
    """A written result: the size of its first page, notes for the user, and the record.

    `damage` are sentences about parts of the source that could not be read.
    """

    width: int
    height: int
    notes: list[str] = field(default_factory=list)
    record: dict[str, object] = field(default_factory=dict)
    damage: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Work:
    """The arguments and records that all pages of an image share."""

    source: Path
    name: str
    spec: Spec
    enhancer: Enhancer
    out: Path
    checkpoint: Callable[[], None]
    made: Making | None = None
    faces: FaceRestorer | None = None
    face_records: list[dict[str, object]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    checks: list[dict[str, object]] = field(default_factory=list)


def enhance_image(
    source: Path,
    name: str,
    spec: Spec,
    enhancer: Enhancer,
    out: Path,
    checkpoint: Callable[[], None],
    made: Making | None = None,
    faces: FaceRestorer | None = None,
) -> ImageResult:
    """Enhance the image in `source` into `out`, in the format of the suffix of `name`.

    `made` is the provenance that the result has in its XMP; a file that is copied byte for byte has none. With `faces`, the faces of
    the enhanced image are restored. `checkpoint` is called between blocks and raises to stop. Raises BadInput or Unsupported, naming
    `name`, for an image that cannot be restored, EnhanceError for one that is beyond the device, StorageError when scratch space is
    short.
    """
    pages, notes = read_pages(source, name)
    targets = [choose_for(page.picture, name, spec, enhancer.scale) for page in pages]
    work = _Work(source, name, spec, enhancer, out, checkpoint, made, faces)
    if enhancer.identity and faces is None and unchanged(pages[0].picture, targets[0]):
        shutil.copyfile(source, out)
        notes.append("the file was copied byte for byte")
    else:
        notes += _pages(work, pages, targets)
    refuse_losses(notes, name, spec)
    enhancer.forget()
    return _result(work, pages, targets, targets[0].height, notes)


def enhance_band(
    source: Path,
    name: str,
    spec: Spec,
    enhancer: Enhancer,
    out: Path,
    checkpoint: Callable[[], None],
    band: tuple[int, int],
) -> ImageResult:
    """Enhance band `band` (its number and the number of bands) of the only page in `source`; raise as `enhance_image` does.

    `out` is a TIFF of the band's rows without metadata for any format of the result; the bands are joined later.
    """
    pages, notes = read_pages(source, name)
    target = choose_for(pages[0].picture, name, spec, enhancer.scale)
    rows = band_rows(target.height, *band)
    work = _Work(source, name, spec, enhancer, out, checkpoint)
    metadata, _ = metadata_transfer.metadata_for(source, pages[0], target, name)
    notes += _painted(work, pages[0], target, rows, metadata, out)
    enhancer.forget()
    return _result(work, pages, [target], rows[1] - rows[0], notes)


def refuse_losses(notes: Sequence[str], name: str, spec: Spec) -> None:
    """Raise BadInput, with --strict, for a result that would not carry everything that its source has."""
    why = refusal(name, notes) if spec.strict else ""
    if why:
        raise BadInput(why)


def unchanged(picture: Picture, target: Target) -> bool:
    """Return whether the identity generator only needs to copy the file."""
    return target.format == picture.format and (target.width, target.height) == (picture.width, picture.height)


def _result(work: _Work, pages: list[Page], targets: list[Target], height: int, notes: list[str]) -> ImageResult:
    record = {
        "pages": [msgspec.to_builtins(page.picture) for page in pages],
        "targets": [msgspec.to_builtins(target, enc_hook=str) for target in targets],
        "checks": work.checks,
        **work.enhancer.record(),
        **({"faces": work.face_records} if work.faces else {}),
    }
    return ImageResult(targets[0].width, height, notes, record, tuple(work.damage))


def _pages(work: _Work, pages: list[Page], targets: list[Target]) -> list[str]:
    """Enhance every page and join them; return notes, which start with the page's number if there are several pages."""
    notes: list[str] = []
    plain: list[Path] = []
    metadata: list[Metadata] = []
    try:
        for number, (page, target) in enumerate(zip(pages, targets, strict=True), 1):
            plain.append(work.out.with_name(f"{work.out.name}.page{number}"))
            kept, added = metadata_transfer.metadata_for(work.source, page, target, work.name)
            page_notes = [*target.notes, *_painted(work, page, target, (0, target.height), kept, plain[-1]), *added]
            metadata.append(kept)
            notes += about(f"page {number}: ", page_notes) if len(pages) > 1 else page_notes
        if targets[0].format != "avif":
            metadata[0], added = metadata_transfer.told(metadata[0], work.made, plain)
            notes += added
        if len(pages) == 1:
            notes += metadata_transfer.attach(plain[0], metadata[0], targets[0], work.out)
        else:
            write_tiff([[path] for path in plain], metadata, [(t.width, t.height) for t in targets], work.out)
    finally:
        for path in plain:
            path.unlink(missing_ok=True)
    return notes


def _painted(
    work: _Work, page: Page, target: Target, rows: tuple[int, int], metadata: Metadata, plain: Path
) -> list[str]:
    """Enhance the result's rows [top, bottom) of one page into `plain` and return notes; the ICC profile is in the metadata.

    Two decoders check the source first (see `media.images.witness`); damage is appended to `work.damage`.
    """
    picture = page.picture
    part = msgspec.structs.replace(target, height=rows[1] - rows[0])
    if part.height != target.height:
        part = msgspec.structs.replace(part, format="tiff")
    raw = plain.with_name(plain.name + ".raw")
    scratch = plain.with_name(plain.name + ".repaired")
    check = SourceCheck(work.source, page, work.name, work.spec, scratch)
    profile = None if picture.mode == "cmyk" else metadata.meaning or metadata.icc
    painter = Painter(work.enhancer, work.spec, picture, target, profile)
    try:
        if rows[0] == 0:
            check.examine()
        try:
            _paint(work, painter, check.pixels(), target, rows, raw)
        except BadInput:
            if not check.examine_again():
                raise
            _paint(work, painter, check.pixels(), target, rows, raw)
        notes = check.conclude(work.damage)
        work.checks.append(check.record())
        if work.faces is not None:
            anywhere = check.pixels(anywhere=True)
            notes += _with_faces(work, work.faces, anywhere, target, profile, raw)
        inside = metadata_transfer.told(metadata, work.made, [])[0] if part.format == "avif" else None
        encode(RawPixels(raw, part), part, inside, plain, work.name)
    finally:
        raw.unlink(missing_ok=True)
        scratch.unlink(missing_ok=True)
    return notes + painter.conclude(whole=rows == (0, target.height))


def _with_faces(
    work: _Work, faces: FaceRestorer, image: pyvips.Image, target: Target, profile: bytes | None, raw: Path
) -> list[str]:
    """Restore the faces of a page in its raw result; return notes."""
    from workers.images.faces import restore_faces  # imports OpenCV, which is needed only for faces

    colours = 1 if target.mode == "grey" else 3
    seen = interpretation_of(profile, colours)[0] if profile is not None else None
    faces.start()
    restore_faces(faces, image, colours, raw, target, seen, work.checkpoint)
    work.face_records.append(faces.record())
    return faces.notes()


def _paint(
    work: _Work, painter: Painter, image: pyvips.Image, target: Target, rows: tuple[int, int], raw: Path
) -> None:
    """Write the raw pixels of the result's rows [top, bottom), block by block."""
    kind = sample_type(target.depth)
    bands = (1 if target.mode == "grey" else 3) + target.alpha
    line = target.width * bands * kind.itemsize
    need = (rows[1] - rows[0]) * line
    free = shutil.disk_usage(raw.parent).free
    if free < 2 * need:
        raise StorageError(
            f"{work.name} needs {2 * need} bytes of scratch space in {raw.parent}, but only {free} are free; "
            "free space there or set `scratch` to another folder."
        )
    reader = Rows(image, work.name)
    with raw.open("wb", buffering=0) as file:
        os.truncate(file.fileno(), need)
        for block in blocks((image.height, image.width), (target.height, target.width), work.enhancer, rows):
            work.checkpoint()
            top, left, bottom, right = block.shown
            samples = to_samples(painter.paint(reader.read(top, bottom)[:, left:right], block), kind)
            first, start = block.out[0] - rows[0], block.out[1] * bands * kind.itemsize
            for row in range(len(samples)):
                os.pwrite(file.fileno(), samples[row].tobytes(), (first + row) * line + start)
