"""Faces of a still image of any size: detected in a small copy, restored in the raw result, region by region."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
import torch

from contract.errors import BadInput
from media.images import vips
from media.images.output_plan import Target
from media.images.pixels import sample_type
from workers.faces.align import covered, crop, enlarged, shifted, similarity
from workers.faces.detect import Detection
from workers.faces.enhance import FaceRestorer, Work
from workers.faces.landmarks import SIDES, to_pixels
from workers.faces.track import Followed
from workers.images.icc_curves import Interpretation
from workers.images.rows import to_samples, to_tensor
from workers.shot_detection import thumbnail

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, bottom and right exclusive."""
DETECTION_SIDE = 2048
"""Longer side in pixels of the copy in which faces are detected: twice the detector's size for a film's frame."""


@dataclass(frozen=True)
class Canvas:
    """Samples H x W x C of an image, read in boxes; `interpretation` is that of their profile, None for sRGB."""

    height: int
    width: int
    colours: int
    read: Callable[[Box], npt.NDArray[np.generic]]
    interpretation: Interpretation | None
    device: torch.device

    def rgb(self, box: Box) -> torch.Tensor:
        """Read the box as 1 x 3 x h x w float32 sRGB in [0, 1]."""
        colour = to_tensor(self.read(box))[:, : self.colours].to(self.device)
        seen = colour if self.interpretation is None else self.interpretation.to_srgb(colour)
        return seen.clamp(0, 1).expand(-1, 3, -1, -1).contiguous()

    def samples(self, rgb: torch.Tensor) -> torch.Tensor:
        """Convert sRGB back to the colours of this canvas."""
        if self.colours == 1:
            rgb = (rgb * rgb.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        return rgb if self.interpretation is None else self.interpretation.from_srgb(rgb)


def restore_faces(
    faces: FaceRestorer,
    image: pyvips.Image,
    colours: int,
    raw: Path,
    target: Target,
    interpretation: Interpretation | None,
    checkpoint: Callable[[], None],
) -> None:
    """Restore the faces of `image` (random access; grey or RGB, alpha last) in the raw result `raw` of `target`, in place.

    Samples outside the faces' squares stay unchanged, bit by bit. `checkpoint` is called between faces. Raises
    BadInput when the image cannot be read, EnhanceError when a face cannot be restored.
    """
    device = faces.restorer.device
    bands = (1 if target.mode == "grey" else 3) + target.alpha
    shape = (target.height, target.width, bands)
    result: npt.NDArray[Any] = np.memmap(raw, dtype=sample_type(target.depth), mode="r+", shape=shape)
    source = Canvas(image.height, image.width, colours, _reader(image), interpretation, device)
    after = Canvas(*shape[:2], bands - target.alpha, lambda b: result[b[0] : b[2], b[1] : b[3]], interpretation, device)
    scale = target.width / image.width, target.height / image.height
    wanted = _found(faces, image, source)
    if wanted:
        faces.remark(_changed(wanted))
    for face in wanted:
        checkpoint()
        here = similarity(face.points, faces.restorer.size)
        box = covered(here, faces.restorer.size, source.height, source.width)
        there = enlarged(here, *scale)
        part = covered(there, faces.restorer.size, after.height, after.width)
        if box is None or part is None:
            continue
        square = crop(source.rgb(box), shifted(here, box[1], box[0]), faces.restorer.size)
        restored = faces.restorer(square)
        before = after.rgb(part)
        now = before.clone()
        faces.paste(now, before, Work(0, face, shifted(there, part[1], part[0]), square), restored, number=0)
        _write(result, part, after, before, now)


def _write(result: npt.NDArray[Any], part: Box, canvas: Canvas, before: torch.Tensor, now: torch.Tensor) -> None:
    changed = (now != before).any(dim=1)[0].cpu().numpy()
    samples = to_samples(canvas.samples(now), result.dtype)
    top, left, bottom, right = part
    result[top:bottom, left:right, : canvas.colours][changed] = samples[changed]


def _found(faces: FaceRestorer, image: pyvips.Image, source: Canvas) -> list[Followed]:
    """Return the faces to restore, with points in pixels of the image, refined at full size."""
    factor = min(1.0, max(DETECTION_SIDE / max(image.height, image.width), 10 / faces.options.min_size))
    small = image if factor == 1 else image.resize(factor, kernel="linear")
    reduced = Canvas(
        small.height, small.width, source.colours, _reader(small), source.interpretation, torch.device("cpu")
    )
    pixels = to_pixels(reduced.rgb((0, 0, small.height, small.width)))
    x, y = image.width / small.width, image.height / small.height
    found = faces.detect(pixels, max(x, y))
    if negative := _as_negative(pixels, found):
        faces.remark(negative)
        return []
    refined = [_refined(faces, source, each, x, y) for each in found]
    wanted = faces.select(refined, thumbnail(pixels))
    little = sum(each.size < faces.options.min_size for each in refined)
    if little:
        faces.remark(
            f"{little} face{'s' if little > 1 else ''} under {faces.options.min_size} pixels wide left as they are; --face-min-size "
            "changes that"
        )
    drawn = [face for face in wanted if is_drawing(pixels, face.detection.box, (x, y))]
    if drawn:
        faces.remark(f"{len(drawn)} of {len(wanted)} faces look like line drawings and were left as they are")
    return [face for face in wanted if face not in drawn]


def _as_negative(pixels: npt.NDArray[np.uint8], found: list[Detection]) -> str:
    """Return a note for a picture most of whose faces have eyes lighter than their cheeks; empty for a positive."""
    votes = [eyes_over_cheeks(pixels, face) > _NEGATIVE for face in found]
    if not votes or sum(votes) * 2 <= len(votes):
        return ""
    return (
        f"the picture looks like a negative ({sum(votes)} of {len(votes)} faces have eyes lighter than their cheeks); no face was restored, "
        "invert it first"
    )


def eyes_over_cheeks(pixels: npt.NDArray[np.uint8], face: Detection) -> float:
    """Return by how many levels of 255 the eyes are lighter than the cheeks below them: negative in every positive picture."""
    grey = pixels.astype(np.float32).mean(axis=2)
    radius = max(1, round(face.size * 0.07))
    eyes, corners = face.points[:2], face.points[3:5]
    cheeks = eyes + 0.55 * (corners - eyes)

    def level(points: npt.NDArray[np.float64]) -> float:
        values = []
        for x, y in points.round().astype(int):
            part = grey[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            values.append(float(part.mean()) if part.size else 0.0)
        return sum(values) / len(values)

    return level(eyes) - level(cheeks)


_NEGATIVE = 8.0
"""Levels by which eyes must be lighter than cheeks: shadows and glasses make a few."""
_TONES = 0.12
"""Share of a face's pixels between dark and light under which it is a line drawing; photographs have far more."""


def is_drawing(pixels: npt.NDArray[np.uint8], box: tuple[float, ...], factors: tuple[float, float]) -> bool:
    """Return True for a face of black lines on white or the reverse; `box` is in source pixels, `factors` larger than those of `pixels`."""
    left, top, right, bottom = (round(value / factors[n % 2]) for n, value in enumerate(box))
    part = pixels[max(0, top) : bottom, max(0, left) : right].astype(np.float32).mean(axis=2) / 255
    if part.size < 64:
        return False
    low, high = np.percentile(part, (2, 98))
    if high - low < 0.3:
        return False
    tones = (part - low) / (high - low)
    return float(((tones > 0.2) & (tones < 0.8)).mean()) < _TONES


def _changed(wanted: list[Followed]) -> str:
    """Return the note that names the restored faces."""
    boxes = [face.detection.box for face in wanted]
    named = ", ".join(f"{b[2] - b[0]:.0f} x {b[3] - b[1]:.0f} at {b[0]:.0f}, {b[1]:.0f}" for b in boxes[:10])
    more = f" and {len(boxes) - 10} more" if len(boxes) > 10 else ""
    return f"{len(boxes)} face{'s' if len(boxes) > 1 else ''} restored: {named}{more}"


def _refined(faces: FaceRestorer, source: Canvas, found: Detection, x: float, y: float) -> Detection:
    """Convert a detection in the small copy to one in the image, with its points detected again there."""
    left, top, right, bottom = found.box
    at = (found.points + 0.5) * (x, y) - 0.5
    coarse = Detection((left * x, top * y, right * x, bottom * y), found.score, at)
    box = covered(similarity(at, SIDES[-1]), SIDES[-1], source.height, source.width)
    if box is None:
        return coarse
    offset = np.array([box[1], box[0]], dtype=np.float64)
    moved = faces.refine(source.rgb(box), dataclasses.replace(coarse, points=at - offset))
    return dataclasses.replace(coarse, points=moved.points + offset)


def _reader(image: pyvips.Image) -> Callable[[Box], npt.NDArray[np.generic]]:
    kind = np.dtype({"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}[image.format])

    def read(box: Box) -> npt.NDArray[np.generic]:
        top, left, bottom, right = box
        try:
            data = image.crop(left, top, right - left, bottom - top).write_to_memory()
        except pyvips.Error as error:
            raise BadInput(
                f"the area around a face cannot be decoded: {vips.sentence(error)}; submit an intact copy of the image."
            ) from error
        return np.frombuffer(data, kind).reshape(bottom - top, right - left, image.bands)

    return read
