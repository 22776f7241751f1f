"""The structure of a PNG from its first to its last byte: chunks, checksums, the length of its pixel stream. PNG third edition, 5 and 10."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STEP = 1 << 20
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, row step, column step of each pass."""


@dataclass
class PngStructure:
    """Sizes and checksums of a PNG. `inflated` of `expected` bytes of filtered rows came out of its pixel stream."""

    width: int = 0
    height: int = 0
    interlaced: bool = False
    apple: bool = False
    ended: bool = False
    trailing: int = 0
    inflated: int = 0
    expected: int = 0
    sound: bool = False
    bad_pixels: int = 0
    bad_others: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Whole rows that can be inflated; of an interlaced picture, the same share of its height."""
        return self.height * self.inflated // self.expected if self.expected else 0


def read_structure(file: Path) -> PngStructure:
    """Read every chunk of `file`, check each checksum and inflate the pixel stream without keeping it."""
    found = PngStructure()
    machine = zlib.decompressobj()
    alive = True
    with file.open("rb") as stream:
        for kind, start, length, whole in chunks(stream):
            stream.seek(start)
            digest = zlib.crc32(kind)
            left = length
            head = b""
            while left:
                part = stream.read(min(left, _STEP))
                if not part:
                    break
                left -= len(part)
                digest = zlib.crc32(part, digest)
                head = head or part[:13]
                if kind == b"IDAT" and alive:
                    alive = _inflate(machine, part, found)
            if kind == b"IHDR":
                _header(found, head)
            found.apple |= kind == b"CgBI"
            if not whole or digest != int.from_bytes(stream.read(4), "big"):
                if kind == b"IDAT":
                    found.bad_pixels += 1
                else:
                    found.bad_others.append(kind.decode("latin-1"))
            if kind == b"IEND":
                found.ended = True
                found.trailing = stream.seek(0, 2) - (start + length + 4)
    found.sound = machine.eof and found.inflated == found.expected
    return found


def has_end(file: Path) -> bool:
    """Return True when the chunks of `file` reach an end chunk."""
    with file.open("rb") as stream:
        return any(kind == b"IEND" and whole for kind, _, _, whole in chunks(stream))


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int, bool]]:
    """(type, offset of the data, bytes of data, whole) of each chunk up to IEND or the end of the file."""
    size = stream.seek(0, 2)
    at = 8
    while at + 8 <= size:
        stream.seek(at)
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        whole = at + 12 + length <= size
        yield kind, at + 8, length if whole else max(0, size - at - 8), whole
        if kind == b"IEND" or not whole:
            return
        at += 12 + length


def _inflate(machine: zlib._Decompress, part: bytes, found: PngStructure) -> bool:
    """Feed one part; False once the stream is broken or holds more than the picture."""
    try:
        while part and not machine.eof:
            found.inflated += len(machine.decompress(part, _STEP))
            part = machine.unconsumed_tail
            if found.inflated > found.expected:
                return False
    except zlib.error:
        return False
    return True


def _header(found: PngStructure, head: bytes) -> None:
    if len(head) < 13 or head[9] not in _SAMPLES:
        return
    found.width, found.height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    found.interlaced = head[12] == 1
    bits = head[8] * _SAMPLES[head[9]]
    areas = [(found.height, found.width)]
    if found.interlaced:
        areas = [(-(-(found.height - r) // rs), -(-(found.width - c) // cs)) for r, c, rs, cs in _PASSES]
    found.expected = sum(h * (1 + -(-w * bits // 8)) for h, w in areas if h > 0 and w > 0)


def repair(file: Path, out: Path) -> None:
    """Copy `file` to `out` with right checksums, lengths that fit, and an end chunk, so that decoders go as far as the data do."""
    with file.open("rb") as stream, out.open("wb") as target:
        target.write(SIGNATURE)
        for kind, start, length, _ in chunks(stream):
            if kind == b"IEND":
                break
            stream.seek(start)
            target.write(length.to_bytes(4, "big") + kind)
            digest, left = zlib.crc32(kind), length
            while left and (part := stream.read(min(left, _STEP))):
                left -= len(part)
                digest = zlib.crc32(part, digest)
                target.write(part)
            target.write(digest.to_bytes(4, "big"))
        target.write(b"\0\0\0\0IEND\xaeB`\x82")
