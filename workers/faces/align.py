"""Alignment of a face in a frame to the square that restorers are trained on, and blending back.

The square and its five points are FFHQ's, from facexlib's FaceRestoreHelper; gfpgan, codeformer and
restoreformer were all trained on it. Coordinates refer to pixel centres, as in OpenCV.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from workers.faces.detect import Points

TEMPLATE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""The five points in a square of 512 pixels, from facexlib/utils/face_restoration_helper.py."""
SQUARE = 512
OUTSIDE = (133 / 255, 132 / 255, 135 / 255)
"""RGB of the area outside the frame, as in facexlib; the restorers were trained with it."""
EDGE = 0.1
"""Share of the square's side over which the mask rises from 0 to 1."""

Affine = npt.NDArray[np.float64]
"""2 x 3."""


def similarity(points: Points, size: int) -> Affine:
    """Return the rotation, scale and shift that maps `points` closest (least squares) to the template of a `size` square.

    Umeyama 1991, in closed form: it is smooth in the points, so that a face does not jump from frame to frame, as it may
    with a robust fit that picks the best subset of five.
    """
    target = TEMPLATE * (size / SQUARE)
    # In the plane a similarity is a complex number a (turn and scale) and a shift b: minimise |a p + b - q|.
    p, q = (pair[:, 0] + 1j * pair[:, 1] for pair in (np.asarray(points, np.float64), target))
    centred = p - p.mean()
    a = complex((np.conj(centred) * (q - q.mean())).sum() / max(float((np.abs(centred) ** 2).sum()), 1e-12))
    b = complex(q.mean() - a * p.mean())
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def apply(affine: Affine, points: Points) -> Points:
    """Map `points` (n x 2) by `affine`."""
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], dtype=np.float64)


def inverse(affine: Affine) -> Affine:
    """Invert `affine`."""
    linear = np.linalg.inv(affine[:, :2])
    return np.concatenate([linear, -(linear @ affine[:, 2:])], axis=1)


def enlarged(affine: Affine, x: float, y: float) -> Affine:
    """Adapt `affine` to a frame enlarged by `x` and `y`, so that it maps that frame to the same square."""
    scale = np.diag([1 / x, 1 / y])
    # Pixel centres: u in the large frame is (u + 0.5) / x - 0.5 in the small one.
    shift = np.array([0.5 / x - 0.5, 0.5 / y - 0.5])
    linear = affine[:, :2]
    return np.concatenate([linear @ scale, (linear @ shift + affine[:, 2])[:, None]], axis=1)


def shifted(affine: Affine, left: float, top: float) -> Affine:
    """Adapt `affine` to the part of the frame that begins at (`left`, `top`)."""
    result = affine.copy()
    result[:, 2] += affine[:, :2] @ np.array([left, top])
    return result


def covered(affine: Affine, size: int, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return (top, left, bottom, right) of the part of a frame that `crop` and `blend` use; None if it is empty."""
    back = inverse(affine)
    corners = apply(back, _corners(size))
    margin = 2 + math.ceil(max(1.0, 2 * math.hypot(back[0, 0], back[1, 0])))
    left, top = (max(0, math.floor(v) - margin) for v in corners.min(axis=0))
    right, bottom = (min(n, math.ceil(v) + margin) for n, v in zip((width, height), corners.max(axis=0), strict=True))
    return (top, left, bottom, right) if left < right and top < bottom else None


def crop(frame: torch.Tensor, affine: Affine, size: int) -> torch.Tensor:
    """Cut the aligned square, 1 x 3 x size x size, from a frame 1 x 3 x H x W, both RGB float32 in [0, 1]."""
    box = covered(affine, size, *frame.shape[-2:])
    if box is None:
        return frame.new_tensor(OUTSIDE).view(1, 3, 1, 1).expand(1, 3, size, size).clone()
    top, left, bottom, right = box
    back = inverse(affine)
    shrink = math.hypot(back[0, 0], back[1, 0])
    part, origin = frame[..., top:bottom, left:right], (left, top)
    sampled, inside = _sample(part, back, origin, (size, size), shrink)
    return sampled * inside + frame.new_tensor(OUTSIDE).view(1, 3, 1, 1) * (1 - inside)


def blend(frame: torch.Tensor, change: torch.Tensor, affine: Affine, strength: float) -> None:
    """Add `change` (1 x 3 x size x size, aligned) times the soft mask and `strength` to `frame`, in place.

    The restorer's change is blended, not its image: where it changed nothing the frame stays unchanged and is not resampled twice.
    """
    size = change.shape[-1]
    height, width = frame.shape[-2:]
    corners = apply(inverse(affine), _corners(size))
    left, top = (max(0, math.floor(v)) for v in corners.min(axis=0))
    right, bottom = (min(n, math.ceil(v) + 1) for n, v in zip((width, height), corners.max(axis=0), strict=True))
    if left >= right or top >= bottom:
        return
    local = shifted(affine, left, top)
    masked = torch.cat([change, mask(size, change.device)], dim=1)
    shrink = math.hypot(affine[0, 0], affine[1, 0])
    back, inside = _sample(masked, local, (0, 0), (bottom - top, right - left), shrink)
    frame[..., top:bottom, left:right] += back[:, :3] * back[:, 3:] * inside * strength
    frame[..., top:bottom, left:right].clamp_(0, 1)


def mask(size: int, device: torch.device) -> torch.Tensor:
    """Return a 1 x 1 x size x size mask: 0 at the edge, 1 from a tenth of the side inwards, a raised cosine between.

    facexlib gets the same effect by eroding a square by a twentieth of its side and blurring it as much.
    """
    at = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    rise = (torch.minimum(at, 1 - at) / EDGE).clamp(0, 1)
    ramp = 0.5 - 0.5 * torch.cos(math.pi * rise)
    return (ramp[:, None] * ramp[None, :])[None, None]


def _corners(size: int) -> Points:
    far = size - 0.5
    return np.array([[-0.5, -0.5], [far, -0.5], [-0.5, far], [far, far]])


def _sample(
    picture: torch.Tensor, affine: Affine, origin: tuple[int, int], size: tuple[int, int], shrink: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample `picture` (its top left pixel at `origin`) through `affine` on a raster of `size`; also return where it has pixels.

    When the raster is coarser than the picture (`shrink` > 1), the picture is first reduced with an antialiasing
    filter; bicubic sampling alone would skip pixels and flicker.
    """
    height, width = picture.shape[-2:]
    if shrink > 1:
        smaller = max(1, round(height / shrink)), max(1, round(width / shrink))
        picture = functional.interpolate(picture, size=smaller, mode="bicubic", antialias=True, align_corners=False)
    y, x = torch.meshgrid(
        torch.arange(size[0], device=picture.device, dtype=torch.float32),
        torch.arange(size[1], device=picture.device, dtype=torch.float32),
        indexing="ij",
    )
    at_x = affine[0, 0] * x + affine[0, 1] * y + (affine[0, 2] - origin[0])
    at_y = affine[1, 0] * x + affine[1, 1] * y + (affine[1, 2] - origin[1])
    # grid_sample counts from -1 to 1 over the whole extent, edge to edge.
    grid = torch.stack([(2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1], dim=-1)[None]
    sampled = functional.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)
    inside = ((at_x > -0.5) & (at_x < width - 0.5) & (at_y > -0.5) & (at_y < height - 0.5)).to(picture.dtype)
    return sampled, inside[None, None]
