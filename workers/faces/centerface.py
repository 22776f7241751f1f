"""CenterFace: detection of faces and their five points by one small network, on the CPU, through OpenCV.

Xu, Yan et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019 (arXiv 1911.03599).
Decoding follows the authors' published code (Star-Clouds/CenterFace, MIT).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from contract.errors import WeightsError
from workers.faces.detect import Detection, Pixels, without_doubles

THRESHOLD = 0.5
"""The authors' default."""
OUTPUTS = ("537", "538", "539", "540")
"""Heat map, sizes, offsets, points; each has a quarter of the input's height and width."""
STRIDE, MULTIPLE = 4, 32
LONGEST = 1024
"""Longer side in pixels. Larger frames are reduced for detection, unless that would lose faces of the smallest wanted size."""
SMALLEST_SEEN = 10
"""Pixels. The network does not find smaller faces. Enlarging a frame does not help: it costs time and shifts points."""
MOST = 100
"""Faces kept of one frame: a crowd need not be restored face by face, and a hostile image may have thousands."""


def detection_scale(height: int, width: int, min_size: float) -> float:
    """Return the factor by which a frame is resized before detection."""
    return min(1.0, max(LONGEST / max(height, width), SMALLEST_SEEN / min_size))


class CenterFace:
    """The network, loaded from ONNX. Not thread-safe: OpenCV keeps the input in the network."""

    name = "CenterFace"

    def __init__(self, path: Path) -> None:
        """Raise WeightsError when `path` is not the network."""
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise WeightsError(
                f"{path.name} is not a face detector that OpenCV can read: {error.err}; "
                "run `respool models fetch CenterFace`, then submit again."
            ) from error

    def __call__(self, pixels: Pixels, min_size: float) -> list[Detection]:
        """Detect faces; see `Detector`."""
        height, width = pixels.shape[:2]
        scale = detection_scale(height, width, min_size)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        # Padding, not stretching, to the multiple that the network needs: stretching moves the points.
        padded = cv2.copyMakeBorder(small, 0, -size[1] % MULTIPLE, 0, -size[0] % MULTIPLE, cv2.BORDER_CONSTANT)
        self._net.setInput(cv2.dnn.blobFromImage(padded))
        heat, sizes, offsets, points = (np.asarray(part)[0] for part in self._net.forward(OUTPUTS))
        rows, columns = np.nonzero(heat[0] > THRESHOLD)
        best = np.argsort(-heat[0, rows, columns], kind="stable")[: 20 * MOST]
        scale_x, scale_y = size[0] / width, size[1] / height
        found = []
        for row, column in zip(rows[best], columns[best], strict=True):
            h, w = np.exp(sizes[:, row, column].astype(np.float64)) * STRIDE
            top = (row + offsets[0, row, column] + 0.5) * STRIDE - h / 2
            left = (column + offsets[1, row, column] + 0.5) * STRIDE - w / 2
            pairs = points[:, row, column].astype(np.float64).reshape(5, 2)
            where = np.stack([(pairs[:, 1] * w + left) / scale_x, (pairs[:, 0] * h + top) / scale_y], axis=1)
            box = (
                max(0.0, float(left / scale_x)),
                max(0.0, float(top / scale_y)),
                min(float(width), float((left + w) / scale_x)),
                min(float(height), float((top + h) / scale_y)),
            )
            if box[0] < box[2] and box[1] < box[3] and np.isfinite(where).all():
                found.append(Detection(box, float(heat[0, row, column]), where))
        return without_doubles(found)[:MOST]
