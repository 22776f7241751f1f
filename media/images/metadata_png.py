"""Metadata of a PNG: the chunks around the pixels. Portable Network Graphics, third edition (W3C)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from contract.errors import BadInput
from contract.severity import Loss
from media.images import tiff
from media.images.colour_signal import png_profile
from media.images.metadata import Density, Metadata, join_photoshop, split_photoshop

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
XMP_KEYWORD = b"XML:com.adobe.xmp"
RAW_PROFILES = frozenset(
    b"Raw profile type " + kind for kind in (b"iptc", b"8bim", b"exif", b"APP1", b"xmp", b"icc", b"icm")
)
"""ImageMagick's and ExifTool's custom for what PNG has no chunk for: hexadecimal digits in compressed text."""
_COLOUR = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fdAT", b"fcTL", b"acTL", b"iDOT", b"CgBI"})
_CARRIED = frozenset({b"sCAL", b"pCAL", b"sTER", b"gIFg", b"gIFx", b"mDCV", b"cLLI", b"sPLT"})
"""Chunks that stay true of an enlarged picture."""
_LEFT = {
    b"caBX": Loss("the C2PA manifest was left out: it signs the pixels before"),
    b"sBIT": Loss("the number of significant bits (sBIT) was left out: it is of the samples before"),
    b"bKGD": Loss("the background colour (bKGD) was left out"),
    b"oFFs": Loss("the offset on the page (oFFs) was left out: it is of the picture before"),
    b"hIST": Loss("the palette's histogram (hIST) was left out"),
}
MOST = 64 << 20
"""Bytes of one metadata chunk, and of what it unpacks to."""


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, int]]:
    """(type, data, length) of each chunk up to IEND; the data of IDAT is skipped. Ends quietly where the file does."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"IDAT", b"fdAT") or length > MOST:
            file.seek(length, 1)
            data = b""
        else:
            data = file.read(length)
        file.seek(4, 1)
        yield kind, data, length
        if kind == b"IEND":
            return


def read(file: BinaryIO, grey: bool = False) -> Metadata:
    """Everything that the chunks hold beside pixels; `grey` says which kind of profile gamma becomes."""
    found = Metadata()
    room = MOST
    for kind, data, length in chunks(file):
        room -= len(data)
        if kind not in (b"IDAT", b"fdAT") and (length > MOST or room < 0):
            found = replace(
                found, notes=(*found.notes, Loss(f"a {kind.decode('latin-1')} chunk of {length} bytes was left out"))
            )
        elif kind == b"iCCP":
            name, _, rest = data.partition(b"\0")
            icc = _unpack(rest[1:])
            found = (
                replace(found, icc=icc)
                if icc
                else _note(found, Loss(f"the ICC profile {name!r} is broken and was left out"))
            )
        elif kind == b"eXIf":
            found = replace(found, exif=data)
        elif kind == b"pHYs" and len(data) == 9:
            x, y, unit = struct.unpack(">IIB", data)
            if x and y:
                density = (
                    Density(Fraction(x, 100), Fraction(y, 100), "cm")
                    if unit == 1
                    else Density(Fraction(x), Fraction(y), "none")
                )
                found = replace(found, density=density)
        elif kind in _COLOUR:
            found = replace(found, colour=(*found.colour, (kind, data)))
        elif kind == b"tIME":
            found = _note(found, "the PNG's time of last change was left out: the picture has changed since")
        elif kind in _TEXTS:
            found = _text(found, kind, data)
        elif kind not in _PIXELS:
            found = _other(found, kind, data)
    if found.icc is None:
        found = replace(found, meaning=png_profile(dict(found.colour), grey))
    return found


def _other(found: Metadata, kind: bytes, data: bytes) -> Metadata:
    """Carry what stays true, and private chunks that say they may be copied (lower-case fourth letter); name the others."""
    if kind in _LEFT:
        return _note(found, _LEFT[kind])
    name = kind.decode("latin-1")
    private = kind[1:2].islower() and kind[3:4].islower()
    if kind in _CARRIED or private:
        found = replace(found, others=(*found.others, (kind, data)))
        return _note(found, f"the private chunk {name} was carried as it is") if private else found
    return _note(
        found,
        Loss(
            f"the chunk {name} ({len(data)} bytes) was left out: it does not say that it outlives a change of the pixels"
        ),
    )


def colour_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """Return the chunks about colour of a PNG, which stand before its pixels."""
    found = {}
    for kind, data, _ in chunks(file):
        if kind == b"IDAT":
            break
        if kind in (*_COLOUR, b"iCCP"):
            found[kind] = data
    return found


def legacy_orientation(file: BinaryIO) -> int:
    """Return the orientation in an EXIF block that an old program wrote as text; 1 where there is none."""
    found = Metadata()
    for kind, data, _ in chunks(file):
        if kind == b"eXIf":
            return 1  # read by the decoder
        if kind in _TEXTS and data.startswith((b"Raw profile type exif\0", b"Raw profile type APP1\0")):
            found = _text(found, kind, data)
    if found.exif is None:
        return 1
    try:
        value = tiff.parse(found.exif, "the EXIF block", []).number(tiff.ORIENTATION, 1)
    except BadInput:
        return 1
    return value if 1 <= value <= 8 else 1


def _note(found: Metadata, note: str) -> Metadata:
    return replace(found, notes=(*found.notes, note))


def _text(found: Metadata, kind: bytes, data: bytes) -> Metadata:
    keyword, _, rest = data.partition(b"\0")
    if kind == b"iTXt" and keyword == XMP_KEYWORD and len(rest) > 2:
        packet = rest[2:].split(b"\0", 2)[-1]
        xmp = (_unpack(packet) or b"") if rest[0] else packet
        return replace(found, xmp=xmp)
    if keyword in RAW_PROFILES:
        block = _raw_profile(rest if kind == b"tEXt" else _unpack(rest[1:]) or b"")
        if block is None:
            return _note(found, Loss(f"the block {keyword.decode('latin-1')!r} is broken and was left out"))
        return _block(found, block)
    return replace(found, texts=(*found.texts, (kind, data)))


def _block(found: Metadata, block: bytes) -> Metadata:
    """Put one block of an old program where its first bytes say that it belongs."""
    if block.startswith(b"Exif\0\0"):
        return replace(found, exif=found.exif or block[6:])
    if block.startswith((b"II*\0", b"MM\0*")):
        return replace(found, exif=found.exif or block)
    if block.startswith(XMP_SEGMENT):
        return replace(found, xmp=found.xmp or block[len(XMP_SEGMENT) :])
    if block.lstrip()[:1] == b"<":
        return replace(found, xmp=found.xmp or block)
    if block[36:40] == b"acsp":
        return replace(found, icc=found.icc or block)
    iptc, other, notes = split_photoshop(block) if block.startswith(b"8BIM") else (block, None, [])
    return replace(found, iptc=iptc or found.iptc, photoshop=other or found.photoshop, notes=(*found.notes, *notes))


def _raw_profile(text: bytes) -> bytes | None:
    lines = text.split(b"\n")
    try:
        start = next(n for n, line in enumerate(lines) if line.strip().isdigit())
        block = bytes.fromhex(b"".join(lines[start + 1 :]).decode("ascii"))
        return block if len(block) == int(lines[start]) else None
    except (StopIteration, ValueError):
        return None


def _unpack(data: bytes) -> bytes | None:
    """Inflate, but not past MOST: a metadata chunk must not fill the memory."""
    try:
        machine = zlib.decompressobj()
        whole = machine.decompress(data, MOST)
    except zlib.error:
        return None
    return whole if machine.eof else None


def write(plain: Path, metadata: Metadata, out: Path) -> list[str]:
    """Copy the PNG `plain` to `out` with `metadata` instead of its own metadata; returns what could not be carried."""
    notes: list[str] = []
    with plain.open("rb") as source, out.open("wb") as target:
        target.write(SIGNATURE)
        source.seek(8)
        while len(head := source.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"pHYs", b"eXIf", b"iCCP", *_TEXTS, *_COLOUR):
                source.seek(length + 4, 1)
                continue
            target.write(head)
            if length < 1 << 20:
                target.write(source.read(length + 4))
            else:
                for at in range(0, length + 4, 1 << 20):
                    target.write(source.read(min(1 << 20, length + 4 - at)))
            if kind == b"IHDR":
                target.write(b"".join(_ours(metadata, notes)))
            if kind == b"IEND":
                break
    return notes


def _ours(metadata: Metadata, notes: list[str]) -> Iterator[bytes]:
    if metadata.icc:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc, 9))
    for kind, data in metadata.colour:
        if not (metadata.icc and kind == b"sRGB"):
            yield _chunk(kind, data)
    if metadata.density:
        yield _chunk(b"pHYs", _density(metadata.density, notes))
    if metadata.exif:
        yield _chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield _chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp)
    block = join_photoshop(metadata.iptc, metadata.photoshop)
    if block:
        label = b"8bim" if metadata.photoshop else b"iptc"
        digits = block.hex().encode()
        lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        text = b"\n%s\n%8d\n%s\n" % (label, len(block), lines)
        yield _chunk(b"zTXt", b"Raw profile type " + label + b"\0\0" + zlib.compress(text, 9))
    for kind, data in metadata.texts:
        yield _chunk(kind, data)
    for name, data in metadata.others:
        if isinstance(name, bytes):
            yield _chunk(name, data)
    for comment in metadata.comments:
        yield _chunk(b"tEXt", b"Comment\0" + comment.replace(b"\0", b" "))


def _density(density: Density, notes: list[str]) -> bytes:
    """pHYs: whole pixels per metre."""
    if density.unit == "none":
        x, y, unit = density.x, density.y, 0
    else:
        x, y = (v * 10000 / 254 for v in density.per_inch())
        unit = 1
    if not (0 < round(x) < 1 << 31 and 0 < round(y) < 1 << 31):
        notes.append(Loss(f"the density of {float(density.x):.6g} per {density.unit} is beyond PNG and was left out"))
        x = y = Fraction(1)
        unit = 0
    return struct.pack(">IIB", round(x), round(y), unit)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
