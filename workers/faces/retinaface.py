"""RetinaFace (ResNet-50) of facexlib: slower and better than CenterFace; used if its file was in the cache at submission.

Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from contract.errors import WeightsError
from workers.faces.detect import Detection, Pixels
from workers.generators import compat

THRESHOLD = 0.97
"""Least score, as in facexlib's FaceRestoreHelper."""
LONGEST = 2150
"""Longest side in pixels, as in facexlib."""
MOST = 100


class RetinaFace:
    """The network with the given weights. Not thread-safe."""

    name = "RetinaFace"

    def __init__(
        self, state: Mapping[str, torch.Tensor], parameters: Mapping[str, object], device: torch.device
    ) -> None:
        """Raise WeightsError when the weights do not fit."""
        network = str(parameters.get("network_name", "resnet50"))
        if network not in ("resnet50", "mobile0.25"):
            raise WeightsError(f"weights of RetinaFace name the unknown network {network!r}; use resnet50.")
        retinaface = compat.load("facexlib.detection.retinaface").RetinaFace
        self._net = retinaface(network_name=network, device=device)
        try:
            self._net.load_state_dict({name.removeprefix("module."): values for name, values in state.items()})
        except RuntimeError as error:
            raise WeightsError(f"the weights do not fit RetinaFace: {str(error).splitlines()[-1].strip()}") from error
        self._net.eval().requires_grad_(False).to(device)

    def __call__(self, pixels: Pixels, min_size: float) -> list[Detection]:  # noqa: ARG002  it finds small faces anyway
        """Detect faces; see `Detector`. `min_size` has no effect."""
        height, width = pixels.shape[:2]
        step = -(-max(height, width) // LONGEST)
        bgr = np.ascontiguousarray(pixels[::step, ::step, ::-1])
        with torch.inference_mode():
            rows = self._net.detect_faces(bgr, THRESHOLD)[:MOST].astype(np.float64)
        found = []
        for row in rows:
            left, top, right, bottom = (row[:4] * step).tolist()
            box = max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)
            if box[0] < box[2] and box[1] < box[3] and np.isfinite(row).all():
                found.append(Detection(box, float(row[4]), row[5:15].reshape(5, 2) * step))
        return found
