"""The packet run, the stored form of a video chunk: the source's own packets, to be fed to a bare decoder.

    b"RSPLRUN1"                     magic
    u32 length, JSON                RunHeader
    records                         one per packet, little endian:
        u32 size                    of the payload; END in the last record
        i64 position                in the film's output order; UNPLACED gives no frame
        u8  flags                   KEY, DISCARD, CORRUPT, MARKED, and the number of side data in the upper bits
        [u8 length, type, u32 size, data] * number of side data
        payload
    u32 END, u32 count, u32 crc32   of all bytes from the magic on

Streams written to disk and read back from a store are checked while they are read: sizes are bounded, the end
record must be there, and the checksum must agree, so a cut-off or scrambled run is refused, never half-used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from contract.errors import IntegrityError
from contract.film import Colour, Encoding, Scanning
from contract.job import JobId, Natural, Positive, Sha256

MAGIC = b"RSPLRUN1"
END = 0xFFFFFFFF
KEY, DISCARD, CORRUPT, MARKED = 1, 2, 4, 8
"""Flags of a packet. MARKED: the container calls it a key packet. Some decoders (PNG, Flash Screen Video) act on that
whether or not decoding may start there (KEY)."""
MAX_HEADER = 8 << 20
MAX_PAYLOAD = 1 << 30
"""An uncompressed 16K frame of 16-bit RGBA is 1 GiB."""
_RECORD = struct.Struct("<IqB")
_SIDE = struct.Struct("<BI")


class RunOwner(Struct, frozen=True, forbid_unknown_fields=True):
    """Owner of the frames in a run: an item of a job, and the SHA-256 of its source."""

    job: JobId
    item: Natural
    source: Sha256


class RunHeader(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a worker needs to turn the run into its share of the result."""

    first: Natural
    count: Positive
    frames: Positive
    """Of the whole film, so that a worker knows the last chunk."""
    codec: str
    extradata: bytes
    width: Natural
    height: Natural
    pix_fmt: str
    colour: Colour
    encoding: Encoding
    codec_tag: str = ""
    bits_per_coded_sample: Natural = 0
    reorder: Natural = 0
    """has_b_frames, as the demuxer learnt it from the stream's start."""
    scanning: Scanning = Scanning()
    deinterlace: bool = False
    preroll: Natural = 0
    """Packets at the beginning that only settle the decoder: what goes wrong there says nothing about owned frames."""
    context: Natural = 0
    """Frames before and after the owned ones that a filter needs to see."""
    owner: RunOwner | None = None
    """None in runs of plans of version 1."""


class RunPacket(Struct, frozen=True):
    """One packet of a run."""

    position: int
    flags: int
    data: bytes
    side: tuple[tuple[str, bytes], ...] = ()


def write_run(header: RunHeader, packets: Iterable[RunPacket]) -> Iterator[bytes]:
    """Yield the bytes of a run, piece by piece."""
    text = msgspec.json.encode(header, order="deterministic")
    crc, count = 0, 0
    head = MAGIC + struct.pack("<I", len(text)) + text
    crc = zlib.crc32(head, crc)
    yield head
    for packet in packets:
        head = _RECORD.pack(len(packet.data), packet.position, packet.flags | len(packet.side) << 4)
        for kind, data in packet.side:
            name = kind.encode()
            head += _SIDE.pack(len(name), len(data)) + name + data
        for piece in (head, packet.data):
            crc = zlib.crc32(piece, crc)
            yield piece
        count += 1
    yield struct.pack("<III", END, count, crc)


class RunReader:
    """Reader of a run from a binary file: `header`, then iterate for the packets.

    Reading raises IntegrityError for anything that `write_run` did not write.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self._count = 0
        if self._take(len(MAGIC)) != MAGIC:
            raise IntegrityError("a chunk does not begin as a packet run; retry the job so that it is cut again.")
        (length,) = struct.unpack("<I", self._take(4))
        if length > MAX_HEADER:
            raise IntegrityError(f"a packet run announces a header of {length} bytes; retry the job to cut it again.")
        try:
            self.header = msgspec.json.decode(self._take(length), type=RunHeader)
        except msgspec.DecodeError as error:
            raise IntegrityError(f"the header of a packet run cannot be read: {error}.") from error

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise IntegrityError("a packet run ends too early; retry the job so that it is cut again.")
        self._crc = zlib.crc32(data, self._crc)
        return data

    def __iter__(self) -> Iterator[RunPacket]:
        while True:
            before = self._crc
            (size,) = struct.unpack("<I", self._take(4))
            if size == END:
                count, crc = struct.unpack("<II", self._take(8))
                if (count, crc) != (self._count, before):
                    raise IntegrityError("a packet run fails its checksum; retry the job so that it is cut again.")
                return
            position, flags = struct.unpack("<qB", self._take(9))
            if size > MAX_PAYLOAD:
                raise IntegrityError(f"a packet run announces a packet of {size} bytes; retry the job to cut it again.")
            side = []
            for _ in range(flags >> 4):
                name_size, data_size = _SIDE.unpack(self._take(_SIDE.size))
                if data_size > MAX_PAYLOAD:
                    raise IntegrityError(f"a packet run announces side data of {data_size} bytes; cut it again.")
                name = self._take(name_size).decode("ascii", "replace")
                side.append((name, self._take(data_size)))
            self._count += 1
            yield RunPacket(position, flags & 15, self._take(size), tuple(side))
