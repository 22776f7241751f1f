"""Verdicts on a source's pixels: two decoders read them, and what either misses, or both read differently, is classified.

`sound` is worth no word, `harmless` a note, `damaged` an entry in the record; a kind that no decoder reads raises Unsupported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from contract.errors import BadInput, Unsupported
from media.images import jpeg_structure, png_structure, vips
from media.images.block_means import SIDE, BlockMeans, Means, Samples
from media.images.header import Page
from media.images.pixels import FailOn, source_samples
from media.images.second_reader import LARGE, Opinion, Undecodable, opinion, third_opinion

_TOLERANCE = {True: 8.0, False: 1.5}
"""Levels of 255 by which two decoders' block means may differ, of lossy and of lossless formats: IDCTs and chroma filters differ."""

_ABOUT_DATA = ("Corrupt JPEG data", "remature", "do not fit")
"""Words of libjpeg's complaints about coded pixels; others are about headers."""


@dataclass(frozen=True)
class Verdict:
    """Verdict of two readers on a page. `readable` is the file to decode: the source, or a copy with a repaired structure.

    `rows` of `height` rows are decoded. `damage` is one sentence, empty for a page that is not damaged; `readers` are the decoders that took part;
    `lenient` says that libvips must be asked to read on past its complaints.
    """

    readable: Path
    height: int
    rows: int
    damage: str = ""
    notes: tuple[str, ...] = ()
    readers: tuple[str, ...] = ("libvips",)
    lenient: bool = False

    @property
    def share(self) -> int:
        """Percent of the rows that are decoded, rounded down."""
        return 100 * self.rows // self.height

    def check(self, salvage: int, name: str) -> None:
        """Raise BadInput, naming `name`, when fewer than `salvage` percent of the rows are decoded, or none."""
        if self.rows and self.share >= salvage:
            return
        if not self.rows:
            raise BadInput(f"{name} cannot be decoded at all: {self.damage}; restore it from another copy.")
        raise BadInput(
            f"{name} is damaged and only {self.rows} of its {self.height} rows ({self.share}%) can be decoded: {self.damage}; "
            f"restore it from another copy, or accept it with --salvage {self.share}."
        )


@dataclass(frozen=True)
class _Reading:
    """Result of reading a page with libvips: block means, rows before its first complaint, and the complaint.

    `empty` are the rows at the end that are of one colour each, as decoders fill rows for which there are no data.
    """

    means: Means
    rows: int
    complaint: str = ""
    empty: int = 0


def examine(file: Path, page: Page, name: str, scratch: Path, second: bool = True) -> Verdict:
    """Read one page of `file` with libvips and, if `second`, another decoder; `scratch` is where a repaired copy may be written.

    Raises BadInput naming `name` for a page that libvips cannot open.
    """
    height = page.picture.width if page.picture.orientation in (5, 6, 7, 8) else page.picture.height
    first = _read(file, page, name, "warning")
    notes: list[str] = []
    if page.picture.format == "jpeg":
        _refuse_rare(file, first, name)
    if page.picture.format == "jpeg" and not first.complaint:
        unfinished = _unfinished(file, height)
        if unfinished is not None:
            return Verdict(file, height, unfinished[0], unfinished[1])
    if page.picture.format == "png" and not first.complaint and not png_structure.has_end(file):
        notes.append("the PNG's end chunk is missing; every row is there")
    if first.complaint:
        repaired = _repaired(file, page, scratch)
        if repaired is not None:
            again = _read(repaired[0], page, name, "warning")
            if not again.complaint and not repaired[2]:
                return _compared(repaired[0], page, again, height, [repaired[1]], second)
            return _damaged(repaired[0], page, name, again, height, repaired[2])
        return _damaged(file, page, name, first, height, "")
    return _compared(file, page, first, height, notes, second)


def _read(file: Path, page: Page, name: str, fail_on: FailOn) -> _Reading:
    """Decode all rows that libvips gives, 16 at a time."""
    try:
        image = source_samples(file, page.picture, name, page.index, fail_on)
    except Unsupported:
        raise
    except BadInput as error:
        if page.picture.decoder != "tifffile" or fail_on == "none":
            raise
        return _Reading(
            np.zeros((1, 1, 1)), 0, str(error).removeprefix(f"{name} is damaged: ").partition("; restore")[0]
        )
    kind: Any = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32, "double": np.float64}[image.format]
    top = float(np.iinfo(kind).max) if np.dtype(kind).kind == "u" else 1.0
    blocks = BlockMeans(image.width, image.height, image.bands, top)
    region = pyvips.Region.new(image)
    empty = 0
    for row in range(0, image.height, SIDE):
        height = min(SIDE, image.height - row)
        pyvips.vips_lib.vips_error_clear()
        try:
            data = region.fetch(0, row, image.width, height)
        except pyvips.Error as error:
            return _Reading(blocks.means(), row, _complaint(error), empty)
        samples = np.frombuffer(data, kind).reshape(height, image.width, image.bands)
        if fail_on == "none":
            varied = np.flatnonzero(np.ptp(samples, axis=1).max(axis=1))
            empty = empty + height if not varied.size else height - 1 - int(varied[-1])
        blocks.add(row, 0, _as_stored(samples, page, top))
    return _Reading(blocks.means(), image.height, "", empty)


def _as_stored(samples: Samples, page: Page, top: float) -> Samples:
    """Return colours multiplied with alpha where the file stores them so: libvips divides them, the other reader does not."""
    if page.picture.extra != "premultiplied" or not page.picture.alpha:
        return samples
    stored = samples.astype(np.float32)
    stored[..., :-1] *= stored[..., -1:] / top
    return stored if samples.dtype.kind == "f" else np.rint(stored).astype(samples.dtype)


def _complaint(error: pyvips.Error) -> str:
    said = vips.sentence(error).removeprefix("unable to fetch from region; ")
    return said if said != "unable to fetch from region" else "the decoder met data that do not fit"


def _unfinished(file: Path, height: int) -> tuple[int, str] | None:
    """(rows, sentence) for a progressive JPEG whose file ends well but lacks scans; None for a complete one."""
    structure = jpeg_structure.read_structure(file)
    if not structure.unfinished:
        return None
    share = structure.coverage
    rows = height if share == 1 else int(height * share)
    return rows, (
        f"its progressive scans stop after {structure.scans}: {round(share * 100)}% of the coefficients are there, so that detail is missing everywhere"
    )


def _repaired(file: Path, page: Page, scratch: Path) -> tuple[Path, str, str] | None:
    """(copy with a repaired structure, note on what was repaired, damage that the structure shows); None where nothing is to repair."""
    if page.picture.format == "jpeg":
        structure = jpeg_structure.read_structure(file)
        if structure.end is not None:
            return None
        jpeg_structure.close(file, scratch)
        damage = ""
        if structure.unfinished:
            damage = f"the file ends in scan {structure.scans} of a progressive picture"
        return scratch, "the JPEG's end marker is missing; every row is there", damage
    if page.picture.format == "png":
        found = png_structure.read_structure(file)
        png_structure.repair(file, scratch)
        said = (
            f"checksums of {found.bad_pixels} pixel chunks are wrong" if found.bad_pixels else "its structure is broken"
        )
        note = f"{said}, but the pixel stream's own checksum holds and every row is there"
        if found.sound:
            return scratch, note if found.ended else "the PNG's end chunk is missing; every row is there", ""
        return scratch, "", f"{found.rows} of {found.height} rows can be inflated"
    return None


def _damaged(file: Path, page: Page, name: str, strict: _Reading, height: int, why: str) -> Verdict:
    """Return a verdict on a page of which libvips complains, after a second reading that ignores complaints."""
    lenient = _read(file, page, name, "none")
    rows = min(height, max(strict.rows, lenient.rows - lenient.empty))
    reason = why or strict.complaint or lenient.complaint
    if page.picture.format == "jpeg":
        structure = jpeg_structure.read_structure(file)
        if structure.coverage < 1:
            rows = min(rows, int(height * structure.coverage))
    if page.picture.format == "png":
        rows = min(rows, max(strict.rows, png_structure.read_structure(file).rows))
    other = _other(file, page) if page.picture.format in ("tiff", "jpeg") else None
    if other is not None and _beside_pixels(page, reason) and _agree(lenient.means, other, height):
        note = f"the file is damaged outside its pixels ({reason}); two decoders read every row alike"
        return Verdict(file, height, height, "", (note,), ("libvips", other.reader), lenient=True)
    if page.picture.format == "tiff" and other is not None and other.rows:
        rows = min(rows, max(strict.rows, other.rows))
    where = f"from row {strict.rows} on" if strict.rows else "from its first row on"
    return Verdict(
        file, height, rows, f"damaged {where} ({reason}); {rows} of {height} rows were decoded", lenient=True
    )


def _refuse_rare(file: Path, first: _Reading, name: str) -> None:
    """Raise Unsupported for a JPEG in a coding process of which libvips decodes nothing: it is not damaged."""
    rare = jpeg_structure.read_structure(file).kind if first.complaint and not first.rows else None
    if rare is not None:
        raise Unsupported(
            f"{name} is a {rare}, which no decoder here reads; its pixels are not damaged: save it as a TIFF or PNG in the program "
            "that wrote it."
        )


def _beside_pixels(page: Page, complaint: str) -> bool:
    """Return True for complaints that may be about something else than pixels: a TIFF's tags, a JPEG's headers."""
    return page.picture.format == "tiff" or not any(word in complaint for word in _ABOUT_DATA)


def _other(file: Path, page: Page) -> Opinion | None:
    try:
        return opinion(file, page)
    except Undecodable:
        return None


def _agree(means: Means, other: Opinion, height: int) -> bool:
    """Return True when the second reader reads every row without complaint, and as libvips does."""
    return not other.complaint and other.rows == height and other.means is not None and not _differing(means, other)


def _compared(file: Path, page: Page, first: _Reading, height: int, notes: list[str], second: bool) -> Verdict:
    """Return a verdict on a page that libvips reads without complaint, held against the second reader."""
    if not second:
        return Verdict(file, height, height, "", tuple(notes))
    try:
        other = opinion(file, page)
    except Undecodable as error:
        if page.picture.format == "png" and page.picture.width * page.picture.height > LARGE:
            return _inflated(file, height, notes)
        return Verdict(file, height, height, "", (*notes, f"only one decoder read the pixels: {error}"))
    readers = ("libvips", other.reader)
    differing = _differing(first.means, other)
    third = _third(file, page, first.means) if differing is not None else ""
    if third:
        notes = [*notes, f"{other.reader} reads other pixels in {differing}; libvips and {third} agree"]
        return Verdict(file, height, height, "", tuple(notes), ("libvips", other.reader, third))
    if differing is not None:
        return Verdict(
            file,
            height,
            height,
            f"libvips and {other.reader} read different pixels in {differing}"
            + (f" ({other.complaint})" if other.complaint else ""),
            tuple(notes),
            readers,
        )
    if other.complaint:
        notes = [*notes, f"{other.complaint}; libvips reads every row without complaint"]
    return Verdict(file, height, height, "", tuple(notes), readers)


def _third(file: Path, page: Page, means: Means) -> str:
    """Return the name of a third decoder that reads what libvips reads; empty where there is none."""
    try:
        found = third_opinion(file, page)
    except Undecodable:
        return ""
    return found.reader if found.means is not None and not found.complaint and not _differing(means, found) else ""


def _inflated(file: Path, height: int, notes: list[str]) -> Verdict:
    """Very large PNGs: every checksum and the whole pixel stream are checked beside libvips, without keeping pixels."""
    found = png_structure.read_structure(file)
    if found.sound:
        return Verdict(file, height, height, "", tuple(notes), ("libvips", "checksums"))
    return Verdict(
        file,
        height,
        height,
        f"{found.rows} of {found.height} rows can be inflated",
        tuple(notes),
        ("libvips", "checksums"),
    )


def _differing(first: Means, other: Opinion) -> str | None:
    """Return the rows in which two readers differ by more than decoders do; None where they agree or nothing can be compared."""
    if other.means is None or other.means.shape[:2] != first.shape[:2]:
        return None
    bands = min(first.shape[2], other.means.shape[2])
    one, two = (np.nan_to_num(means[..., :bands], posinf=0, neginf=0) for means in (first, other.means))
    error = np.abs(one - two).max(axis=2)  # what is no number is refused where the rows are read
    scale = max(1.0, float(np.abs(one).max()) / 255)
    rows = np.flatnonzero((error > _TOLERANCE[other.lossy] * scale).any(axis=1))
    if not rows.size:
        return None
    return f"rows {rows[0] * SIDE} to {rows[-1] * SIDE + SIDE - 1}"
