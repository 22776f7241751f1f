"""One still image through the generator: every page, block by block, into a file that carries the source's papers.

Rows are read once from top to bottom and results are written to raw scratch pixels, so that memory depends
on the width of the image and on the size of a block, never on the height.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
import pyvips

from contract.errors import BadInput, StorageError
from contract.images import carry
from contract.images.papers import Papers
from contract.images.picture import Page, Picture, read_pages
from contract.images.pixels import encode, open_pixels, sample_type, srgb_profile
from contract.images.sniff import OWN_SUFFIXES
from contract.images.target import Target, choose
from contract.images.tiff_papers import write as write_tiff
from contract.job import Spec
from workers.blocks import blocks
from workers.generators.enhancer import Enhancer
from workers.paint import Painter
from workers.rows import Rows, to_samples

BIG = 0xF000_0000
"""Bytes of pixels past which a TIFF of several pages gets 64-bit offsets: 4 GB less room for what pages carry."""


@dataclass(frozen=True)
class ImageResult:
    """What `enhance_image` made: its size (of the first page), sentences for the user, and what is worth keeping."""

    width: int
    height: int
    notes: list[str] = field(default_factory=list)
    record: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """What stays the same for all pages of an image."""

    source: Path
    name: str
    spec: Spec
    enhancer: Enhancer
    out: Path
    checkpoint: Callable[[], None]


def enhance_image(
    source: Path, name: str, spec: Spec, enhancer: Enhancer, out: Path, checkpoint: Callable[[], None]
) -> ImageResult:
    """Enhance the image in `source` into `out`, in the format that the suffix of `name` says.

    `checkpoint` is called between blocks and raises to stop. Raises BadInput or Unsupported naming `name` for an
    image that cannot be restored, EnhanceError for one that the device cannot do, StorageError when scratch space is short.
    """
    pages, notes = read_pages(source, name)
    targets = [_target(page.picture, spec, enhancer, name) for page in pages]
    first, target = pages[0].picture, targets[0]
    job = _Job(source, name, spec, enhancer, out, checkpoint)
    if (
        enhancer.identity
        and target.format == first.format
        and (target.width, target.height) == (first.width, first.height)
    ):
        shutil.copyfile(source, out)
        notes.append("the file was copied byte for byte")
    else:
        notes += _pages(job, pages, targets)
    record = {
        "pages": [msgspec.to_builtins(page.picture) for page in pages],
        "targets": [msgspec.to_builtins(target) for target in targets],
        **enhancer.record(),
    }
    return ImageResult(target.width, target.height, notes, record)


def _target(picture: Picture, spec: Spec, enhancer: Enhancer, name: str) -> Target:
    """The target that `name` asks for: the suffix was decided when the job was planned, or by the user."""
    target = choose(picture, name, spec, enhancer.scale)
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in OWN_SUFFIXES[target.format]:
        return target
    for form, suffixes in OWN_SUFFIXES.items():
        if suffix in suffixes:
            return choose(picture, name, spec, enhancer.scale, form)
    return target


def _pages(job: _Job, pages: list[Page], targets: list[Target]) -> list[str]:
    """Enhance every page and put them together; returns notes, those of a page with its number where there are several."""
    notes: list[str] = []
    plain: list[Path] = []
    papers: list[Papers] = []
    try:
        for number, (page, target) in enumerate(zip(pages, targets, strict=True), 1):
            plain.append(job.out.with_name(f"{job.out.name}.page{number}"))
            kept, said = _page(job, page, target, plain[-1])
            papers.append(kept)
            notes += [f"page {number}: {note}" for note in said] if len(pages) > 1 else said
        if len(pages) == 1:
            notes += carry.attach(targets[0].format, plain[0], papers[0], targets[0], job.out)
        else:
            size = sum(path.stat().st_size for path in plain)
            write_tiff(plain, papers, [(t.width, t.height) for t in targets], job.out, big=size > BIG)
    finally:
        for path in plain:
            path.unlink(missing_ok=True)
    return notes


def _page(job: _Job, page: Page, target: Target, plain: Path) -> tuple[Papers, list[str]]:
    """Enhance one page into `plain`; returns the papers that belong to it, and notes.

    A decoder's warning makes the page start again with leniency, and is told.
    """
    picture = page.picture
    notes = list(target.notes)
    header = open_pixels(job.source, picture, job.name, strict=False, page=page.index)
    papers = carry.read_papers(job.source, picture, header, page.directory)
    kept, said = carry.carried(papers, picture, target, srgb_profile())
    raw = plain.with_name(plain.name + ".raw")
    painter = Painter(job.enhancer, job.spec, picture, target, None if picture.mode == "cmyk" else papers.icc)
    try:
        try:
            _paint(job, painter, open_pixels(job.source, picture, job.name, page=page.index), target, raw)
        except BadInput as error:
            if job.spec.strict:
                raise
            lenient = open_pixels(job.source, picture, job.name, strict=False, page=page.index)
            _paint(job, painter, lenient, target, raw)
            notes.append(f"the source is damaged and was restored as far as it can be read ({error})")
        encode(raw, target, header, plain, job.name)
    finally:
        raw.unlink(missing_ok=True)
    return kept, notes + painter.notes + said


def _paint(job: _Job, painter: Painter, image: pyvips.Image, target: Target, raw: Path) -> None:
    """Write the result's raw pixels, block by block."""
    kind = sample_type(target.depth)
    bands = (1 if target.mode == "grey" else 3) + target.alpha
    line = target.width * bands * kind.itemsize
    need = target.height * line
    free = shutil.disk_usage(raw.parent).free
    if free < 2 * need:
        raise StorageError(
            f"{job.name} needs {2 * need} bytes of scratch space in {raw.parent}, but only {free} are free; "
            "make room or set `scratch`."
        )
    rows = Rows(image, job.name)
    with raw.open("wb", buffering=0) as file:
        os.truncate(file.fileno(), need)
        for block in blocks((image.height, image.width), (target.height, target.width), job.enhancer):
            job.checkpoint()
            top, left, bottom, right = block.shown
            samples = to_samples(painter.paint(rows.read(top, bottom)[:, left:right], block), kind)
            first, start = block.out[:2]
            for row in range(len(samples)):
                os.pwrite(file.fileno(), samples[row].tobytes(), (first + row) * line + start * bands * kind.itemsize)
