"""Schemas of a film as ingest finds it and every later step relies on: streams, frame index, colour, plan.

A *packet id* counts the packets of the film's video stream in decode order, from 0. A *position* counts
the frames in output order, from 0. A source whose packets cannot be cut (no usable key frames, no timestamps with
reordering, ...) is `lossless`: ingest decodes it once and writes FFV1 runs, so packet ids and positions agree.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from msgspec import Meta, Struct

from contract.job import Codec, Natural, Positive, Sha256
from contract.piece import Piece

INDEX_VERSION = 1
MAX_FRAMES = 20_000_000
"""Nine days at 25 fps: an index that announces more entries is refused."""

CHUNK_FORMAT, CHUNK_DEMUXER = "matroska", "matroska"
CHUNK_TICK = Fraction(1, 1000)
"""Container and clock of an encoded chunk.

Matroska holds every codec that Respool writes. Times are ordinals, one tick of Matroska's clock per frame, so that no
time is rounded."""

MAX_TIMESCALE = (1 << 31) - 1
"""The finest clock of mp4 and mov, in ticks a second."""

UNPLACED = -1
"""The position of a packet that gives no frame (discarded by an edit list, hidden, empty).

In a piece, packets outside of it have positions too, since damage in them may reach into it: `frames` and above after it, below
UNPLACED before it."""

Matrix = tuple[int, int, int, int, int, int, int, int, int]
StreamKind = Literal["video", "audio", "subtitle", "data", "attachment", "cover", "other"]
Scan = Literal["progressive", "interlaced-tff", "interlaced-bff", "telecined", "unknown"]


class Colour(Struct, frozen=True, forbid_unknown_fields=True):
    """Meaning of code values. Numbers are FFmpeg's AVCOL_* / AVCHROMA_LOC_*, kept to be written back as found.

    `matrix` and `full` are the resolved meaning that pixels are converted with: the tags', else what players assume
    for the size (BT.601 below 720 lines, BT.709 from there on; limited range unless yuvj/RGB).
    """

    matrix: Literal["bt601", "bt709", "bt2020", "rgb", "grey"]
    full: bool
    space: Natural = 2
    range: Natural = 0
    primaries: Natural = 2
    transfer: Natural = 2
    chroma_location: Natural = 0


class Scanning(Struct, frozen=True, forbid_unknown_fields=True):
    """Scan type of the frames (whole pictures or two fields) and the evidence for it."""

    kind: Scan = "unknown"
    evidence: str = ""
    flagged: bool = False
    """True when frames are flagged as interlaced, so that each frame's own flag decides."""


class SourceStream(Struct, frozen=True, forbid_unknown_fields=True):
    """One stream of the source. `copied` is False for the film's own video stream and for streams left out."""

    index: Natural
    kind: StreamKind
    codec: str
    copied: bool
    language: str = ""
    title: str = ""
    disposition: Natural = 0
    packets: Natural = 0
    size: Natural = 0
    """Bytes of all payloads."""
    crc: Natural = 0
    """CRC-32 of all payloads in order."""
    start: float = 0.0
    """Seconds at which its first packet is to be decoded."""
    note: str = ""
    converted: str = ""
    """FFmpeg's encoder by which its sound is in the result, where that cannot hold it as it is."""
    sidecar: tuple[str, str] | None = None
    """FFmpeg's muxer and the suffix of the file beside the result that holds it."""


class Encoding(Struct, frozen=True, forbid_unknown_fields=True):
    """Encoding of the film's chunks: everything that must be the same in all of them."""

    codec: Codec
    encoder: str
    """FFmpeg's name, such as ``libx264``."""
    pix_fmt: str
    width: Positive
    height: Positive
    rate: tuple[Positive, Positive]
    """Nominal frames per second as a fraction; the real times are in the index."""
    options: dict[str, str]
    colour: Colour
    """Of the result: the source's, but for the matrix where RGB or grey becomes YUV."""
    field_order: Natural = 1
    """FFmpeg's AVFieldOrder: 1 progressive, 2 and 4 top field first, 3 and 5 bottom field first."""
    sar: tuple[Natural, Natural] = (0, 1)


FACE_CONTEXT = 7
"""Frames before a frame that decide about its faces: a third of a second of film to smooth and to fade in over."""
STEADY_REACH = 2
"""Frames before and after a frame that steady it."""
HELD = 4
"""Longest run of equal frames that is steadied as one frame. Drawings of animation are held for two to four."""


class FilmChunk(Struct, frozen=True, forbid_unknown_fields=True):
    """Frames `first` .. `first + count - 1` (positions), decodable from packets `start` .. `stop - 1` (ids).

    The first `preroll` packets only settle the decoder.
    """

    first: Natural
    count: Positive
    start: Natural
    stop: Positive
    preroll: Natural = 0


class Span(Struct, frozen=True, forbid_unknown_fields=True):
    """Positions `first` .. `first + count - 1` and a finding about them."""

    first: Natural
    count: Natural
    reason: str


class TimeMark(Struct, frozen=True, forbid_unknown_fields=True):
    """Time code or a recording date that runs on from position `first`; `of` names its place in the source."""

    first: Natural
    kind: Literal["time_code", "recorded"]
    value: str
    of: str


class FilmIndex(Struct, frozen=True, forbid_unknown_fields=True):
    """index.json of a film. Columns (`pts`, `durations`, `positions`) are packed with `pack`."""

    format: str
    """The source's demuxer, in FFmpeg's words."""
    stream: Natural
    codec: str
    width: Positive
    height: Positive
    pix_fmt: str
    time_base: tuple[Positive, Positive]
    frames: Positive
    pts: bytes
    """Of each position, in `time_base`; strictly increasing."""
    durations: bytes
    """Of each position, in `time_base`; 0 where the source does not say."""
    positions: bytes
    """Of each packet id; UNPLACED where it gives no frame of its own."""
    lossless: bool
    colour: Colour
    encoding: Encoding
    container: str
    """FFmpeg's name of the result's muxer."""
    chunks: tuple[FilmChunk, ...]
    streams: tuple[SourceStream, ...]
    sar: tuple[Natural, Natural] = (0, 1)
    display_matrix: Matrix | None = None
    scanning: Scanning = Scanning()
    deinterlace: bool = False
    face_context: Natural = 0
    """Frames before the owned ones that faces are followed through."""
    time_context: Natural = 0
    """Frames before and after the owned ones that filters over time need."""
    time_filters: tuple[str, ...] = ()
    """Participles that describe the filters over time, in their order, such as "steadied"."""
    joins: tuple[tuple[int, int], ...] = ()
    """Places where the source's clock falls back: (packet id, time base units added to all timestamps from there on)."""
    damage: tuple[Span, ...] = ()
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    """Those of the notes about what the result lacks."""
    captions: Natural = 0
    """Frames that carry captions (CEA-608/708)."""
    time_marks: tuple[TimeMark, ...] = ()
    piece: Piece | None = None
    """The part of the source that is restored; None for all of it. `frames`, `pts` and `chunks` are its own, and times stay on
    the source's clock."""
    version: Annotated[int, Meta(ge=INDEX_VERSION, le=INDEX_VERSION)] = INDEX_VERSION

    @property
    def context(self) -> int:
        """Frames before and after the owned ones that all filters together need."""
        return self.face_context + self.time_context + int(self.deinterlace)

    @property
    def moved(self) -> int:
        """Time base units by which a result is moved, so that a piece from the middle begins at 0."""
        if self.piece is None or not self.piece.first:
            return 0
        return -int(Fraction(*self.piece.start) / Fraction(*self.time_base))

    @property
    def rate(self) -> Fraction:
        """Nominal frames per second."""
        return Fraction(*self.encoding.rate)


class SequenceFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One image of a numbered sequence. Its bytes are one packet of the item's stored source."""

    name: str
    sha256: Sha256
    size: Positive


class ImageSequence(Struct, frozen=True, forbid_unknown_fields=True):
    """sequence.json of a film that was submitted as numbered images: the files that were packed, in order."""

    format: Literal["dpx", "tiff", "png"]
    rate: tuple[Positive, Positive]
    """Frames per second, as the user gave them."""
    files: tuple[SequenceFile, ...]
