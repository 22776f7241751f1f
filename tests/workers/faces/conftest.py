"""The detector with its real weights, and a real face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from contract.job import Weights
from contract.settings import Settings
from weights import catalog, fetch
from workers.faces.centerface import CenterFace


@pytest.fixture(scope="session")
def centerface_weights() -> tuple[Weights, Path]:
    """The detector's real file, as a job pins it."""
    entry = catalog.load(Settings()).find("CenterFace", ("detector",))
    found = fetch.fetch(entry, Settings())
    weights = Weights(entry.role, entry.name, found.sha256, "centerface", {}, entry.licence, found.origin, "onnx")
    return weights, found.path


@pytest.fixture(scope="session")
def detector(centerface_weights: tuple[Weights, Path]) -> CenterFace:
    return CenterFace(centerface_weights[1])


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()
