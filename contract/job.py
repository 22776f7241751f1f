"""Schemas of a job: spec, items, chunks, commits, results. Frozen, versioned, JSON.

All of it arrives from S3 or from a message, so decoding is strict: unknown fields, wrong types and numbers out of
range are refused before anything acts on them.

`contract.documents` reads and writes them, and has the rules about versions.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from contract.documents import Version
from contract.piece import Bounds
from contract.submitter import Submitter

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
MaybeSha256 = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
JobId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^(?!(.*/)?\.{0,2}(/|\Z))[^\x00-\x1f\\]+\Z")]
"""A relative path without empty, `.` or `..` parts, backslashes and control characters: names become paths on a user's
disk, and documents come from a store that others can write to. `contract.keys.check_name` says the same in a sentence."""

Kind = Literal["video", "image"]
State = Literal["ingesting", "running", "paused", "assembling", "done", "failed", "cancelled"]
Codec = Literal["x264", "x265", "svtav1", "vp9", "ffv1", "prores", "h264_nvenc", "hevc_nvenc", "av1_nvenc"]
ImageFormat = Literal["auto", "png", "tiff", "jpg", "webp"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Witness = Literal["full", "sample", "off"]
"""Sources that a second decoder checks: all, one in ten, none."""
SALVAGE = 90
"""Percent of a damaged picture's rows that must be decodable. An archivist would rather copy a picture again than accept one that
lacks more than a tenth."""
OnUnheld = Literal["refuse", "sidecar", "convert", "drop"]
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
    """Options that apply to every item of a job. `scale` None means the generator's own; `steady` weighs the neighbours of frames, `grain` the grain that is put back."""

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
    video_stream: Natural | None = None
    on_unheld: OnUnheld = "refuse"
    program: Natural | None = None
    white: Annotated[float, Meta(gt=0)] | None = None
    steady: Annotated[float, Meta(ge=0, le=1)] = 0.0
    deflicker: bool = False
    piece: Bounds | None = None
    stabilise: bool = False
    scratches: bool = False
    grain: Annotated[float, Meta(ge=0, le=1)] = 0.0
    dirt: bool = False
    masks: bool = False

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
    name: Name
    result: Name
    sha256: Sha256
    size: Natural
    pixels: Natural = 0


class Job(Struct, frozen=True, forbid_unknown_fields=True):
    """job.json: immutable once written. A higher `priority` comes sooner; `notes` list what the submission left out, `losses` the worse of them.

    `submitter` names who the job counts for in fair shares and quotas; it is no part of the job's id.
    """

    id: JobId
    spec: Spec
    items: tuple[Item, ...]
    created: str
    priority: Annotated[int, Meta(ge=0, le=9)] = 4
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    submitter: Submitter = ""
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
    input: MaybeSha256 = ""
    """SHA-256 of what the chunk is made of: the stored run of a video chunk, the joined hashes of the images of an image
    chunk. Empty in plans of version 1."""

    @property
    def items(self) -> range:
        """The items that the chunk has frames of."""
        return range(self.first, self.first + self.count) if self.kind == "image" else range(self.item, self.item + 1)

    def work(self, job: str) -> str:
        """Return the SHA-256 of all that decides which frames this chunk of `job` owns; its number and label do not."""
        owned = (job, self.kind, self.item, self.first, self.count, self.band, self.bands, self.input)
        return hashlib.sha256(msgspec.json.encode(owned)).hexdigest()


class ItemFailure(Struct, frozen=True, forbid_unknown_fields=True):
    """An item that could not be ingested or enhanced, with the reason in one sentence."""

    item: Natural
    name: str
    reason: str


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """plan.json: the chunks of the whole job in order, and the items that ingest refused.

    `duplicates` are pairs (item, earlier item of the same bytes): the later one is not computed but gets the earlier
    one's result.

    A later plan of the same job extends an earlier one: chunks keep their numbers, and no number is given twice. `opening` is
    the value of `Control.retries` that the plan was made for, `retired` are numbers of chunks that later ones replace, and
    `indexes` holds the SHA-256 of each film's index.
    """

    job: JobId
    chunks: tuple[Chunk, ...]
    failures: tuple[ItemFailure, ...] = ()
    duplicates: tuple[tuple[Natural, Natural], ...] = ()
    opening: Natural = 0
    retired: tuple[Natural, ...] = ()
    indexes: tuple[tuple[Natural, Sha256], ...] = ()
    version: Version = 2

    @property
    def live(self) -> tuple[Chunk, ...]:
        """The chunks that the result is made of."""
        gone = set(self.retired)
        return tuple(chunk for chunk in self.chunks if chunk.n not in gone) if gone else self.chunks

    @property
    def frames(self) -> int:
        """Count the frames that the whole job must deliver; an image counts as one."""
        return sum(c.count for c in self.live)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits of what the chunks are, by their numbers; versions that add fields to a plan agree on it."""
        owned = [(c.kind, c.item, c.first, c.count, c.band, c.bands, c.input) for c in self.chunks]
        return hashlib.sha256(msgspec.json.encode((self.job, owned, self.retired))).hexdigest()[:16]


class Control(Struct, frozen=True, forbid_unknown_fields=True):
    """control.json: the user's last request; replaced only by a writer that has read it (If-Match).

    `retries` counts `respool retry`, and rises only: it numbers the openings of the job. `changes` counts all changes.
    A plan of an opening before `replan` is to be extended first, by items that ingest had refused and by those in `recut`,
    whose stored inputs are lost. `collected` says that `respool gc` removed the sources and chunks.
    """

    paused: bool = False
    cancelled: bool = False
    retries: Natural = 0
    replan: Natural = 0
    recut: tuple[Natural, ...] = ()
    changes: Natural = 0
    collected: bool = False


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
    within the attempt, frames reused. `notes` are sentences that the user must see, `losses` those of them about what the result lacks.
    `work` (see `Chunk.work`), `item`, `first` and `count` name what was owed, so that no commit is credited to other frames;
    `work` is empty in commits of version 1. `frames` and `missing`, which the source does not give, make `count`.
    """

    chunk: Natural
    attempt: str
    worker: str
    frames: Natural
    outputs: tuple[Output, ...]
    failures: tuple[ItemFailure, ...] = ()
    damage: tuple[Damage, ...] = ()
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    reorder: Natural = 0
    record: dict[str, msgspec.Raw] = field(default_factory=dict)
    work: MaybeSha256 = ""
    item: Natural = 0
    first: Natural = 0
    count: Natural = 0
    missing: Natural = 0
    version: Version = 2

    def mismatch(self, job: str, chunk: Chunk) -> str:
        """Return what shows that this is no commit of `chunk` of `job`, in a few words; empty when it is one."""
        if self.chunk != chunk.n:
            return f"it is of chunk {self.chunk}"
        if any(output.item not in chunk.items for output in self.outputs):
            return "it holds results of other items"
        if not self.work and not chunk.input:  # both of version 1, which says no more
            return "" if self.frames <= chunk.count else f"it has {self.frames} frames instead of {chunk.count}"
        if self.work != chunk.work(job):
            return f"it is of item {self.item}, {where(self.first, self.count)}, or of another cut of them"
        if self.frames + self.missing != chunk.count:
            return f"its {self.frames} frames and {self.missing} missing ones are not {chunk.count}"
        return ""


class Failed(Struct, frozen=True, forbid_unknown_fields=True):
    """failed.json: a chunk set aside after its last attempt, with the reason of each attempt."""

    chunk: Natural
    attempts: tuple[str, ...]
    retries: Natural = 0
    version: Literal[1] = 1


class ResultFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One finished file of the job."""

    item: Natural
    name: Name
    key: str
    sha256: Sha256
    size: Natural


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """manifest.json: the job's single commit. `state` is ``failed`` when any item failed, ``done`` otherwise.

    One of an `opening` before `Control.retries` is out of date: the job was opened again. Those of version 1 name none.
    """

    job: JobId
    state: Literal["done", "failed"]
    files: tuple[ResultFile, ...]
    failures: tuple[ItemFailure, ...] = ()
    damage: tuple[Damage, ...] = ()
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    finished: str = ""
    record: dict[str, msgspec.Raw] = field(default_factory=dict)
    opening: Natural = 0
    sidecars: tuple[ResultFile, ...] = ()  # files beside films, for what their containers have no place for
    version: Version = 2
