"""A picture and its enlargement, for tests of maps and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testkit.images import smooth


@pytest.fixture
def changed(tmp_path: Path) -> tuple[Path, Path]:
    """A picture, and itself at twice the size by Lanczos with a bright square drawn into one place."""
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    Image.fromarray(smooth(200, 160)).save(before)
    larger = np.asarray(Image.fromarray(smooth(200, 160)).resize((400, 320), Image.Resampling.LANCZOS)).copy()
    larger[200:240, 300:340] = 255
    Image.fromarray(larger).save(after)
    return before, after
