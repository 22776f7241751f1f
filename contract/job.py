"""Schemas of a job: spec, items, chunks, commits, results. Frozen, versioned, JSON.

All of it arrives from S3 or from a message, so decoding is strict: unknown fields, wrong types and numbers out of
range are refused before anything acts on them.

A change that an older process must not overlook, such as a new field, raises VERSION; KNOWN lists the versions that
are still read. A process that meets a newer version raises `Newer` and leaves the document unmodified for a process
that knows it. Only what decides nothing (`record`, heartbeats, `JobStatus`) may grow within a version.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from contract.errors import Newer, UsageError

VERSION: Literal[1] = 1
"""The version that is written."""

KNOWN: tuple[int, ...] = (1,)
"""The versions that are read: the one that is written, and those that may still be in use during an upgrade."""

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
JobId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]

Kind = Literal["video", "image"]
State = Literal["ingesting", "running", "paused", "assembling", "done", "failed", "cancelled"]
Codec = Literal["x264", "x265", "svtav1", "vp9", "ffv1", "prores"]
ImageFormat = Literal["auto", "png", "tiff", "jpg", "webp"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Witness = Literal["full", "sample", "off"]
"""Sources that a second decoder checks: all, one in ten, none."""
SALVAGE = 90
"""Percent of a damaged picture's rows that must be decodable for a result to be delivered.

An archivist copies a picture that lacks more than a tenth again rather than use it, and notices a failure where a note
is overlooked. The failure names the share that would accept the picture."""
Deinterlace = Literal["auto", "off", "bwdif"]


class Face(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of face restoration; absent from a spec without `--face-enhance`.

    `min_size` is the shorter side of a face's box, `exclude` holds (left, top, width, height); both in source pixels.
    """

    model: str = "GFPGANv1.4"
    strength: Annotated[float, Meta(ge=0, le=1)] = 1.0
    min_size: Positive = 16
    only_largest: bool = False
    exclude: tuple[tuple[int, int, int, int], ...] = ()


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """One pinned file of weights: `sha256` names the stored bytes, `origin` their source."""

    role: str
    name: str
    sha256: Sha256
    architecture: str
    parameters: dict[str, int | float | str | bool]
    licence: str
    origin: str
    suffix: Literal["safetensors", "onnx"] = "safetensors"


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """Options that apply to every item of a job. `scale` None means the generator's own."""

    model: str
    scale: Annotated[float, Meta(gt=0, le=16)] | None = None
    denoise: Annotated[float, Meta(ge=0, le=1)] | None = None
    face: Face | None = None
    weights: tuple[Weights, ...] = ()
    precision: Precision = "auto"
    tile: Natural = 0
    codec: Codec = "x264"
    crf: Annotated[float, Meta(ge=0, le=63)] | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    container: str | None = None
    faststart: bool = False
    image_format: ImageFormat = "auto"
    alpha: Literal["network", "bicubic"] = "network"
    deinterlace: Deinterlace = "auto"
    chunk_frames: Natural = 0
    hdr: bool = False
    strict: bool = False
    witness: Witness = "full"
    salvage: Annotated[int, Meta(ge=0, le=100)] = SALVAGE

    @property
    def faces(self) -> Face | None:
        """Options of face restoration; None where a strength of 0 would change nothing."""
        return self.face if self.face is not None and self.face.strength > 0 else None


class Item(Struct, frozen=True, forbid_unknown_fields=True):
    """One source file. `name` is its relative path in the submission, `result` the relative path of its result.

    `pixels` are an image's, as its header says (0 for films): ingest groups images by them.
    """

    n: Natural
    kind: Kind
    name: str
    result: str
    sha256: Sha256
    size: Natural
    pixels: Natural = 0


class Job(Struct, frozen=True, forbid_unknown_fields=True):
    """job.json: immutable once written. A higher `priority` comes sooner; `notes` list what the submission left out."""

    id: JobId
    spec: Spec
    items: tuple[Item, ...]
    created: str
    priority: Annotated[int, Meta(ge=0, le=9)] = 4
    notes: tuple[str, ...] = ()
    version: Literal[1] = 1


class Chunk(Struct, frozen=True, forbid_unknown_fields=True):
    """One unit of work of the plan.

    A video chunk owns `count` frames of item `item`, which are frames `first` .. `first + count - 1` of the
    item in output order. An image chunk owns the images `items[first : first + count]` of the job; where `bands`
    is more than 1, it owns band number `band` of that many of a single large image.
    """

    n: Natural
    kind: Kind
    item: Natural
    first: Natural
    count: Positive
    label: str
    band: Natural = 0
    bands: Positive = 1


class ItemFailure(Struct, frozen=True, forbid_unknown_fields=True):
    """An item that could not be ingested or enhanced, with the reason in one sentence."""

    item: Natural
    name: str
    reason: str


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """plan.json: the chunks of the whole job in order, and the items that ingest refused.

    `duplicates` are pairs (item, earlier item of the same bytes): the later one is not computed but gets the earlier
    one's result.
    """

    job: JobId
    chunks: tuple[Chunk, ...]
    failures: tuple[ItemFailure, ...] = ()
    duplicates: tuple[tuple[Natural, Natural], ...] = ()
    version: Literal[1] = 1

    @property
    def frames(self) -> int:
        """Count the frames that the whole job must deliver; an image counts as one."""
        return sum(c.count for c in self.chunks)


class Control(Struct, frozen=True, forbid_unknown_fields=True):
    """control.json: the user's last request. `retries` counts `respool retry` and only rises."""

    paused: bool = False
    cancelled: bool = False
    retries: Natural = 0


def where(first: int, count: int) -> str:
    """Describe positions `first` .. `first + count - 1` in words; without frames, name the place."""
    if not count:
        return f"near frame {first}"
    return f"frame {first}" if count == 1 else f"frames {first} to {first + count - 1}"


class Damage(Struct, frozen=True, forbid_unknown_fields=True):
    """Frames `first` .. `first + count - 1` of an item that the source does not hold intact, and the evidence."""

    item: Natural
    first: Natural
    count: Natural
    reason: str

    @property
    def where(self) -> str:
        """The damaged positions in words."""
        return where(self.first, self.count)


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """One stored object of an attempt: an encoded chunk of film (empty if its source gave no frame) or one image."""

    item: Natural
    key: str
    sha256: Sha256
    size: Natural
    frames: Natural
    width: Positive
    height: Positive


class Done(Struct, frozen=True, forbid_unknown_fields=True):
    """done.json: the commit. Names the attempt that won and its outputs.

    `record` holds facts that decide nothing: device, precision, backend and its reason, seconds per stage, retries
    within the attempt, frames reused. `notes` are sentences that the user must see.
    """

    chunk: Natural
    attempt: str
    worker: str
    frames: Natural
    outputs: tuple[Output, ...]
    failures: tuple[ItemFailure, ...] = ()
    damage: tuple[Damage, ...] = ()
    notes: tuple[str, ...] = ()
    reorder: Natural = 0
    record: dict[str, msgspec.Raw] = field(default_factory=dict)
    version: Literal[1] = 1


class Failed(Struct, frozen=True, forbid_unknown_fields=True):
    """failed.json: a chunk set aside after its last attempt, with the reason of each attempt."""

    chunk: Natural
    attempts: tuple[str, ...]
    retries: Natural = 0
    version: Literal[1] = 1


class ResultFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One finished file of the job."""

    item: Natural
    name: str
    key: str
    sha256: Sha256
    size: Natural


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """manifest.json: the job's single commit. `state` is ``failed`` when any item failed, ``done`` otherwise."""

    job: JobId
    state: Literal["done", "failed"]
    files: tuple[ResultFile, ...]
    failures: tuple[ItemFailure, ...] = ()
    damage: tuple[Damage, ...] = ()
    notes: tuple[str, ...] = ()
    finished: str = ""
    record: dict[str, msgspec.Raw] = field(default_factory=dict)
    version: Literal[1] = 1


T = TypeVar("T", bound=Struct)


def encode(value: Struct) -> bytes:
    """Return canonical JSON (sorted keys, UTF-8): equal values give equal bytes."""
    return msgspec.json.encode(value, order="deterministic")


def decode(data: bytes, kind: type[T], what: str) -> T:
    """Read a `kind` from JSON; `what` names the document in errors.

    Raises:
        Newer: a newer version of Respool wrote it.
        UsageError: it is not a `kind`.
    """
    try:
        return _decoder(kind).decode(data)
    except msgspec.DecodeError as error:
        if _newer(data, kind, error):
            raise Newer(
                f"{what} was written by a newer version of Respool, and this one does not know all of it ({error}); "
                "it is left to newer processes: finish the upgrade."
            ) from error
        raise UsageError(f"{what} is not a {kind.__name__} of version {VERSION}: {error}.") from error


_building = threading.Lock()


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Build a decoder, one at a time: msgspec 0.22 crashes when several threads first read a class' fields at once."""
    with _building:
        return msgspec.json.Decoder(kind)


class _Versioned(Struct):
    version: int = 1


def _newer(data: bytes, kind: type[Struct], error: msgspec.DecodeError) -> bool:
    """Return True if the document that `error` refused has a later version, or fields of one."""
    known = {field.name: field.default for field in msgspec.structs.fields(kind)}.get("version", VERSION)
    try:
        found = _decoder(_Versioned).decode(data).version
    except msgspec.DecodeError:
        return False
    return found > known or (found == known and str(error).startswith("Object contains unknown field"))


def raw(value: object) -> msgspec.Raw:
    """Encode a value for a `record` dictionary."""
    return msgspec.Raw(msgspec.json.encode(value, order="deterministic"))


def job_id(spec: Spec, items: tuple[Item, ...]) -> str:
    """Derive 16 hex digits from the spec and the items' names and SHA-256: the same submission is the same job."""
    body = msgspec.json.encode((VERSION, spec, items), order="deterministic")
    return hashlib.sha256(body).hexdigest()[:16]
