"""The job in its own words: spec, items, chunks, results. Frozen, versioned, JSON.

Everything here arrives from S3 or from a message, so it is decoded strictly: unknown fields, wrong
types and numbers out of range are refused before anything acts on them.

A change that an older process must not overlook, a new field for one, raises VERSION; KNOWN holds what is read
beside it. What an older process meets of a newer one is `Newer`: left untouched, for whoever knows it. Only what decides
nothing (`record`, heartbeats, `JobStatus`) may grow within a version.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from contract.errors import Newer, UsageError

VERSION: Literal[1] = 1
"""What is written."""

KNOWN: tuple[int, ...] = (1,)
"""What is read: the version that is written, and those that may still be about during an upgrade."""

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
"""Percent of a damaged picture's rows that must be decodable for a result. A picture that lacks more than a tenth is rather copied again
than used, and a failure is noticed where a note is not; the failure names the share that would accept it."""
Deinterlace = Literal["auto", "off", "bwdif"]


class Face(Struct, frozen=True, forbid_unknown_fields=True):
    """How faces are restored; absent from a spec when `--face-enhance` was not given.

    `min_size` is the shorter side of a face's box, `exclude` holds (left, top, width, height); both in source pixels.
    """

    model: str = "GFPGANv1.4"
    strength: Annotated[float, Meta(ge=0, le=1)] = 1.0
    min_size: Positive = 16
    only_largest: bool = False
    exclude: tuple[tuple[int, int, int, int], ...] = ()


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of weights, pinned: `sha256` names the stored bytes, `origin` says where they came from."""

    role: str
    name: str
    sha256: Sha256
    architecture: str
    parameters: dict[str, int | float | str | bool]
    licence: str
    origin: str
    suffix: Literal["safetensors", "onnx"] = "safetensors"


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do to every item of a job. `scale` None means the generator's own."""

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
        """How faces are restored; None when that would change nothing."""
        return self.face if self.face is not None and self.face.strength > 0 else None


class Item(Struct, frozen=True, forbid_unknown_fields=True):
    """One source file. `name` is its relative path in the submission, `result` the relative path of what is made of it.

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
    """job.json: immutable once written. `priority` is higher for sooner; `notes` say what the submission left out."""

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
    """An item that could not be ingested or enhanced, and why, in one sentence."""

    item: Natural
    name: str
    reason: str


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """plan.json: the chunks of the whole job in order, and the items that ingest had to refuse.

    `duplicates` are pairs (item, earlier item of the same bytes): the later one is not computed, it gets the earlier one's result.
    """

    job: JobId
    chunks: tuple[Chunk, ...]
    failures: tuple[ItemFailure, ...] = ()
    duplicates: tuple[tuple[Natural, Natural], ...] = ()
    version: Literal[1] = 1

    @property
    def frames(self) -> int:
        """Frames (an image counts as one) that the whole job owes."""
        return sum(c.count for c in self.chunks)


class Control(Struct, frozen=True, forbid_unknown_fields=True):
    """control.json: what the user last asked for. `retries` counts `respool retry`, and rises only."""

    paused: bool = False
    cancelled: bool = False
    retries: Natural = 0


def where(first: int, count: int) -> str:
    """Positions in words; a span of no frames is a place."""
    if not count:
        return f"near frame {first}"
    return f"frame {first}" if count == 1 else f"frames {first} to {first + count - 1}"


class Damage(Struct, frozen=True, forbid_unknown_fields=True):
    """Frames `first` .. `first + count - 1` of an item that the source does not give whole, and what was seen."""

    item: Natural
    first: Natural
    count: Natural
    reason: str

    @property
    def where(self) -> str:
        return where(self.first, self.count)


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """One stored object of an attempt: a chunk of video (empty when its source gave no frame), or one finished image."""

    item: Natural
    key: str
    sha256: Sha256
    size: Natural
    frames: Natural
    width: Positive
    height: Positive


class Done(Struct, frozen=True, forbid_unknown_fields=True):
    """done.json: the commit. Names the attempt that won and what it made.

    `record` holds what is worth keeping but decides nothing: device, precision, backend and why, seconds per
    stage, retries within the attempt, frames reused. `notes` are sentences that the user must see.
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
    """Canonical JSON (sorted keys, UTF-8): equal values give equal bytes."""
    return msgspec.json.encode(value, order="deterministic")


def decode(data: bytes, kind: type[T], what: str) -> T:
    """Read a `kind` from JSON; raise, naming `what`, Newer when a newer version wrote it, else UsageError when it is none."""
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
    """msgspec 0.22 reads a class' fields when it first decodes one, and crashes when several threads do so at once."""
    with _building:
        return msgspec.json.Decoder(kind)


class _Versioned(Struct):
    version: int = 1


def _newer(data: bytes, kind: type[Struct], error: msgspec.DecodeError) -> bool:
    """Whether a document that `error` refused is one of ours of a later version, or has fields of one."""
    known = {field.name: field.default for field in msgspec.structs.fields(kind)}.get("version", VERSION)
    try:
        found = _decoder(_Versioned).decode(data).version
    except msgspec.DecodeError:
        return False
    return found > known or (found == known and str(error).startswith("Object contains unknown field"))


def raw(value: object) -> msgspec.Raw:
    """A value for a `record` dictionary."""
    return msgspec.Raw(msgspec.json.encode(value, order="deterministic"))


def job_id(spec: Spec, items: tuple[Item, ...]) -> str:
    """16 hex digits from the spec and the items' names and SHA-256: the same submission is the same job."""
    body = msgspec.json.encode((VERSION, spec, items), order="deterministic")
    return hashlib.sha256(body).hexdigest()[:16]
