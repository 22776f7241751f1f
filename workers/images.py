"""One still image through the generator: blocks of pixels with the halo that makes their seams vanish.

Rows are read once from top to bottom and results are written to raw scratch pixels, so that memory depends
on the width of the image and on the size of a block, never on the height.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import numpy.typing as npt
import pyvips
import torch

from contract.errors import BadInput, StorageError, Unsupported
from contract.images import vips
from contract.images.picture import Picture, read_picture
from contract.images.pixels import open_pixels, sample_type, write_pixels
from contract.images.sniff import OWN_SUFFIXES
from contract.images.target import Target, choose
from contract.job import Spec
from workers.blocks import Block, blocks
from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import Kernel, resize_window

Pixels = npt.NDArray[np.generic]

_TOP = {1: 255.0, 2: 65535.0}
"""White of an integer sample, by its bytes."""


@dataclass(frozen=True)
class ImageResult:
    """What `enhance_image` made: its size, sentences for the user, and what is worth keeping in the record."""

    width: int
    height: int
    notes: list[str] = field(default_factory=list)
    record: dict[str, object] = field(default_factory=dict)


def enhance_image(
    source: Path, name: str, spec: Spec, enhancer: Enhancer, out: Path, checkpoint: Callable[[], None]
) -> ImageResult:
    """Enhance the image in `source` into `out`, in the format that the suffix of `name` says.

    `checkpoint` is called between blocks and raises to stop. Raises BadInput or Unsupported naming `name` for an
    image that cannot be restored, EnhanceError for one that the device cannot do, StorageError when scratch space is short.
    """
    picture = read_picture(source, name)
    target = _target(picture, spec, enhancer, name)
    notes = list(target.notes)
    if enhancer.identity and (target.width, target.height) == (picture.width, picture.height):
        notes += _pass_by(source, picture, target, out, name)
    else:
        notes += _enhance(source, picture, target, spec, enhancer, out, name, checkpoint)
    record = {"picture": msgspec.to_builtins(picture), "target": msgspec.to_builtins(target), **enhancer.record()}
    return ImageResult(target.width, target.height, notes, record)


def _target(picture: Picture, spec: Spec, enhancer: Enhancer, name: str) -> Target:
    """The target that `name` asks for: the suffix was decided when the job was planned, or by the user."""
    target = choose(picture, spec, enhancer.scale)
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in OWN_SUFFIXES[target.format]:
        return target
    for form, suffixes in OWN_SUFFIXES.items():
        if suffix in suffixes:
            return choose(picture, spec, enhancer.scale, form)
    return target


def _pass_by(source: Path, picture: Picture, target: Target, out: Path, name: str) -> list[str]:
    """The identity: the source's own bytes where the format stays, else the source's own samples."""
    if target.format == picture.format:
        shutil.copyfile(source, out)
        return ["the file was copied byte for byte"]
    raise Unsupported(f"{name} cannot become {target.format.upper()} with the identity generator; use lanczos.")


def _enhance(
    source: Path,
    picture: Picture,
    target: Target,
    spec: Spec,
    enhancer: Enhancer,
    out: Path,
    name: str,
    checkpoint: Callable[[], None],
) -> list[str]:
    """Enhance every block; a decoder's warning makes the image start again, with the warning told."""
    raw = out.with_name(out.name + ".raw")
    try:
        try:
            _blocks(open_pixels(source, picture, name), target, spec, enhancer, raw, name, checkpoint)
            damage: list[str] = []
        except BadInput as error:
            _blocks(open_pixels(source, picture, name, strict=False), target, spec, enhancer, raw, name, checkpoint)
            damage = [f"the source is damaged and was restored as far as it can be read ({error})"]
        write_pixels(raw, target, open_pixels(source, picture, name, strict=False), out, name)
    finally:
        raw.unlink(missing_ok=True)
    return damage


def _blocks(
    image: pyvips.Image,
    target: Target,
    spec: Spec,
    enhancer: Enhancer,
    raw: Path,
    name: str,
    checkpoint: Callable[[], None],
) -> None:
    kind = sample_type(target.depth)
    bands = (1 if target.mode == "grey" else 3) + target.alpha
    need = target.width * target.height * bands * kind.itemsize
    free = shutil.disk_usage(raw.parent).free
    if free < 2 * need:
        raise StorageError(
            f"{name} needs {2 * need} bytes of scratch space in {raw.parent}, but only {free} are free; make room or set `scratch`."
        )
    rows = Rows(image, name)
    line = target.width * bands * kind.itemsize
    with raw.open("wb", buffering=0) as file:
        os.truncate(file.fileno(), need)
        for block in blocks((image.height, image.width), (target.height, target.width), enhancer):
            checkpoint()
            made = _one(rows, block, target, spec, enhancer)
            samples = _quantise(made, kind)
            top, left, bottom, _ = block.out
            for row in range(bottom - top):
                os.pwrite(file.fileno(), samples[row].tobytes(), (top + row) * line + left * bands * kind.itemsize)


def _one(rows: Rows, block: Block, target: Target, spec: Spec, enhancer: Enhancer) -> torch.Tensor:
    """One block of the result, 1 x bands x h x w float32; black 0, white 1."""
    top, left, bottom, right = block.shown
    samples = rows.read(top, bottom)[:, left:right]
    x = _floats(samples).to(enhancer.device)
    colours = 1 if target.mode == "grey" else 3
    made = _generate(x[:, :colours], block, enhancer)
    if x.shape[1] == colours:
        return made
    alpha = x[:, -1:]
    veil = _generate(alpha, block, enhancer) if spec.alpha == "network" else _plain(alpha, block, "cubic").clamp(0, 1)
    return torch.cat((made, veil), 1) if target.alpha else made * veil + (1 - veil)


def _generate(x: torch.Tensor, block: Block, enhancer: Enhancer) -> torch.Tensor:
    """1 x 1 or 3 x H x W through the network; what the network cannot know, outside [0, 1], goes by Lanczos beside it."""
    inside = x.clamp(0, 1)
    outside = x - inside
    top, left, bottom, right = block.shown
    shown = inside if x.shape[1] == 3 else inside.expand(-1, 3, -1, -1)
    native = enhancer.frames(shown, ((bottom - top) * enhancer.scale, (right - left) * enhancer.scale))
    if x.shape[1] == 1:
        native = _luma(native)
    if block.native != block.size:
        origin = (top * enhancer.scale, left * enhancer.scale)
        native = resize_window(native, origin, block.native, block.size, block.out, "lanczos").clamp(0, 1)
    else:
        s = enhancer.scale
        native = native[
            ..., block.out[0] - top * s : block.out[2] - top * s, block.out[1] - left * s : block.out[3] - left * s
        ]
    if not bool(outside.any()):
        return native
    return native + _plain(outside, block, "lanczos")


def _plain(x: torch.Tensor, block: Block, kernel: Kernel) -> torch.Tensor:
    """Classical resampling of the block from the source's own pixels."""
    return resize_window(x, block.shown[:2], block.source, block.size, block.out, kernel)


def _luma(rgb: torch.Tensor) -> torch.Tensor:
    """Grey of a picture that the network saw as RGB, with BT.601's weights, as upstream's cv2.COLOR_RGB2GRAY."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device).reshape(1, 3, 1, 1)
    return (rgb * weights).sum(1, keepdim=True)


def _floats(samples: Pixels) -> torch.Tensor:
    """H x W x C samples to 1 x C x H x W float32; integer types are scaled by their largest value."""
    scale = 1.0 if samples.dtype.kind == "f" else 1.0 / _TOP[samples.dtype.itemsize]
    plain = np.multiply(samples, scale, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(plain.transpose(2, 0, 1))[None])


def _quantise(made: torch.Tensor, kind: np.dtype[np.generic]) -> Pixels:
    """1 x C x h x w float32 to h x w x C of `kind`, rounded to the nearest level."""
    plain = made[0].permute(1, 2, 0).float().cpu().numpy()
    if kind.kind == "f":
        return np.ascontiguousarray(plain)
    top = _TOP[kind.itemsize]
    return np.ascontiguousarray(np.rint(np.clip(plain, 0, 1).astype(np.float64) * top).astype(kind))


class Rows:
    """Reads an image's rows from top to bottom, keeping the ones that the next band still wants."""

    def __init__(self, image: pyvips.Image, name: str) -> None:
        self._region = pyvips.Region.new(image)
        self._image = image
        self._name = name
        self._kind = np.dtype({"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}[image.format])
        self._first = 0
        self._held = np.empty((0, image.width, image.bands), self._kind)

    def read(self, top: int, bottom: int) -> Pixels:
        """Rows `top` .. `bottom` - 1, H x W x C. `top` never falls from call to call; raises BadInput for broken data."""
        if top > self._first:
            self._held = self._held[top - self._first :].copy()
            self._first = top
        have = self._first + len(self._held)
        if bottom > have:
            parts = [self._held, *self._fetch(have, bottom)]
            self._held = np.concatenate(parts)
        return self._held[top - self._first : bottom - self._first]

    def _fetch(self, top: int, bottom: int) -> Iterator[Pixels]:
        width, bands = self._image.width, self._image.bands
        for row in range(top, bottom, 64):
            height = min(64, bottom - row)
            try:
                data = self._region.fetch(0, row, width, height)
            except pyvips.Error as error:
                raise BadInput(
                    f"{self._name} is damaged from row {row} on: {vips.sentence(error)}; restore it from another copy."
                ) from error
            yield np.frombuffer(data, self._kind).reshape(height, width, bands)
