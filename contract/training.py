"""A training run in its documents: recipe, data, checkpoints, progress, gate. Frozen, versioned, JSON.

The documents cross processes and outlive them, so they are decoded strictly. `contract/keys.py` says where each lies.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from contract.job import JobId, Natural, Positive, Sha256, Weights

Stage = Literal["net", "gan"]
Perceptual = Literal["vgg19", "laplacian"]
Role = Literal["train", "held"]
RunState = Literal["preparing", "training", "checking", "done", "refused", "stopped", "failed"]


class Loss(Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the losses. The defaults are the paper's; stage `net` uses `pixel` alone."""

    pixel: Annotated[float, Meta(ge=0)] = 1.0
    perceptual: Annotated[float, Meta(ge=0)] = 1.0
    adversarial: Annotated[float, Meta(ge=0)] = 0.1
    features: Perceptual = "vgg19"
    """Distance behind `perceptual`: VGG19 as in the paper, or the difference of Laplacian pyramids, which needs no file."""


class Recipe(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides which weights a run ends with, beside its data. Sizes are input pixels.

    A step takes `slots` micro-batches of `batch` patches; as many processes as divide `slots` may share them. `threads`
    belongs here because sums of floats depend on it.
    """

    stage: Stage = "net"
    steps: Positive = 1000
    batch: Positive = 4
    slots: Positive = 1
    patch: Annotated[int, Meta(ge=16, le=512)] = 32
    rate: Annotated[float, Meta(gt=0, le=1)] = 1e-4
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    sharpen: bool = False
    """Sharpen targets with an unsharp mask, as the paper does; the discriminator sees them unsharpened."""
    pool: Natural = 0
    """Patches of the pair pool, a multiple of `batch`; 0 draws resizes for each patch instead of for each micro-batch."""
    generic: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of patches that get the paper's generic degradation instead of the archive's own."""
    loss: Loss = Loss()
    seed: Natural = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    threads: Positive = 1
    validate_every: Positive = 50
    checkpoint_every: Positive = 50


class Picture(Struct, frozen=True, forbid_unknown_fields=True):
    """A clean picture of a run, or a pair.

    `group` names what may not be divided between the train and the held-out set: the picture itself, or a film's shot. `frame` is
    a film's frame number. `low` is the degraded partner of a pair; `shift` is the pair's measured offset in low-resolution
    pixels (right, down).
    """

    name: str
    sha256: Sha256
    role: Role
    group: str
    height: Positive
    width: Positive
    frame: Natural | None = None
    low: str | None = None
    low_sha256: Sha256 | None = None
    shift: tuple[float, float] = (0.0, 0.0)


class LeftOut(Struct, frozen=True, forbid_unknown_fields=True):
    """A source that the run does not use, and why."""

    name: str
    reason: str


class Run(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """run.json: immutable. `damage` is the damage file's content, None for pairs; `parent` is None from scratch."""

    id: JobId
    name: str
    architecture: str
    parameters: dict[str, int | float | str | bool]
    scale: Positive
    parent: Weights | None
    recipe: Recipe
    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...] = ()
    damage: dict[str, Any] | None = None
    licence: str = "NOASSERTION"
    """SPDX expression of the training data's licence."""
    created: str = ""
    time_s: float | None = None
    force: bool = False
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    version: Literal[1] = 1

    def role(self, role: Role) -> list[Picture]:
        """Return the pictures of the train or of the held-out set."""
        return [picture for picture in self.pictures if picture.role == role]


def run_id(run: Run) -> str:
    """Return the run's id: equal parents, data, damage, recipes and names give one id, and so one run."""
    # Where the pictures lie decides nothing, their bytes do.
    pictures = tuple(msgspec.structs.replace(p, name="", group="", low=p.low and "") for p in run.pictures)
    decides = msgspec.structs.replace(
        run, id="0" * 16, pictures=pictures, created="", force=False, notes=(), versions={}, left_out=()
    )
    return hashlib.sha256(msgspec.json.encode(decides, order="deterministic")).hexdigest()[:16]


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """One object of a checkpoint."""

    key: str
    sha256: Sha256


class Best(Struct, frozen=True, forbid_unknown_fields=True):
    """The best generator so far, its weights alone. `score` is what validation measured in dB."""

    step: Natural
    score: float
    part: Part


class Commit(Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint, committed. `state` holds what all processes share, `pools` each slot's pair pool."""

    number: Natural
    step: Natural
    attempt: str
    state: Part
    pools: tuple[Part, ...] = ()
    best: Best | None = None
    finished: bool = False
    version: Literal[1] = 1


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """One measurement of the curves. `value` keys: pixel, perceptual, adversarial, real, fake, psnr, shift, rate."""

    step: Natural
    values: dict[str, float]


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """An event that a run reports: a skipped step, a rewind, a smaller micro-batch, saturation, drift or a restart."""

    step: Natural
    kind: str
    text: str


class Progress(Struct, frozen=True, kw_only=True):
    """progress.json: the state last reported, overwritten. It decides nothing, and so may grow."""

    state: RunState
    step: Natural = 0
    steps: Natural = 0
    steps_per_s: float | None = None
    left_s: float | None = None
    losses: dict[str, float] = {}
    validation: float | None = None
    best: float | None = None
    skipped: Natural = 0
    attempts: Natural = 0
    text: str = ""
    updated: str = ""


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of the gate. `parent` is the parent's figure where the rule compares; `limit` says the rule in words."""

    name: str
    passed: bool
    value: float
    limit: str
    parent: float | None = None
    text: str = ""


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """gate.json: every rule with its figure. `pictures` has each held-out picture's figures by method."""

    passed: bool
    checks: tuple[Check, ...]
    pictures: dict[str, dict[str, dict[str, float]]]
    distance: str = ""
    """Perceptual distance that was used."""
    notes: tuple[str, ...] = ()
    version: Literal[1] = 1


class Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """record.json: where a generator comes from, in full. Its SHA-256 is in the generator's `origin`."""

    run: Run
    weights: Weights
    gate: Gate
    forced: bool
    best_step: Natural
    best_score: float
    steps: Natural
    skipped: Natural
    seconds: float
    events: tuple[Event, ...] = ()
    points: tuple[Point, ...] = ()
    software: str = ""
    finished: str = ""
    version: Literal[1] = 1


class Control(Struct, frozen=True, forbid_unknown_fields=True):
    """control.json: what was last asked of a run."""

    stop: bool = False


class Ask(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Request from the command line to the training program, as JSON on its standard input.

    `model` names the parent; without it, `architecture` and `parameters` describe a network from scratch. `options` are fields of
    the recipe that were given. `resume` is a run's id, beside which nothing else counts but `ranks` and `force`.
    """

    name: str = ""
    model: str = ""
    architecture: str = ""
    parameters: dict[str, int | float | str | bool] = {}
    scale: Natural = 0
    clean: tuple[str, ...] = ()
    damage: str = ""
    low: str = ""
    high: str = ""
    licence: str = "NOASSERTION"
    options: dict[str, Any] = {}
    ranks: Natural = 0
    time_s: float | None = None
    force: bool = False
    resume: str = ""
