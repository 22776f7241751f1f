"""The file's value of white: the network processes the whole image, or the image is refused and not merely resampled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from contract.errors import Unsupported
from contract.job import Spec
from workers.generators.enhancer import Enhancer
from workers.images.image import ImageResult, enhance_image

MODEL = "realesr-animevideov3"
Restore = Callable[..., tuple[Path, ImageResult]]


def picture() -> np.ndarray[Any, Any]:
    """Return a colour image in float, 0 to 1, with edges for the network to sharpen."""
    y, x = np.mgrid[:32, :48]
    plain = np.stack([((x // 6 + y // 5) % 2) * 0.6 + 0.2, x / 48, y / 32], -1)
    return plain.astype(np.float32)


@pytest.fixture
def restore(tmp_path: Path, pinned: Callable[..., Any], enhancer: Callable[..., Enhancer]) -> Restore:
    """Enlarge samples, written as a TIFF, by a real network."""
    weights = pinned(MODEL)

    def run(samples: np.ndarray[Any, Any], name: str = "a.tif", **options: Any) -> tuple[Path, ImageResult]:
        tags = options.pop("tags", [])
        source, out = tmp_path / "source.tif", tmp_path / name
        kind = "rgb" if samples.ndim == 3 else "minisblack"
        tifffile.imwrite(source, samples, photometric=kind, metadata=None, extratags=tags)
        spec = Spec(model=MODEL, scale=2.0, weights=(weights[0],), precision="fp32", **options)
        return out, enhance_image(source, name, spec, enhancer(weights, scale=2.0), out, lambda: None)

    return run


def test_floats_beyond_white_are_refused_or_scaled(restore: Restore) -> None:
    """Floats of 0 to 255 are refused with advice; with --white the result equals that for 0 to 1."""
    with pytest.raises(Unsupported, match=r"up to 2\d\d.*--white 255"):
        restore(picture() * 255)
    expected = tifffile.imread(restore(picture())[0])
    out, made = restore(picture() * 255, white=255.0)
    found = tifffile.imread(out)
    assert np.abs(found / 255 - expected).max() < 2e-3
    assert any("white was taken to be 255" in note for note in made.notes)


def test_a_stated_largest_sample_is_white(restore: Restore) -> None:
    """SMaxSampleValue of a float TIFF and MaxSampleValue of 12 bits in 16 are used, and stay right in the result."""
    expected = tifffile.imread(restore(picture())[0])
    out, _ = restore(picture() * 255, tags=[(341, 11, 3, (255.0,) * 3, True)])
    assert np.abs(tifffile.imread(out) / 255 - expected).max() < 2e-3
    grey = (picture()[..., 0] * 4095).round().astype(np.uint16)
    deep = tifffile.imread(restore((grey.astype(np.uint32) * 65535 // 4095).astype(np.uint16))[0])
    out, made = restore(grey, tags=[(281, 3, 1, 4095, True)])
    with tifffile.TiffFile(out) as file:
        assert file.pages[0].tags[281].value == 4095  # type: ignore[union-attr]  # a full page
        found = file.pages[0].asarray()
    assert np.abs(found / 4095.0 - deep / 65535.0).max() < 2e-3
    assert any("keeps that scale" in note for note in made.notes)


def test_a_format_without_scale_gets_the_whole_range(restore: Restore) -> None:
    """PNG cannot declare 4095 as white, so its samples are scaled to 65535."""
    grey = (picture()[..., 0] * 4095).round().astype(np.uint16)
    out, made = restore(grey, "a.png", tags=[(281, 3, 1, 4095, True)], image_format="png")
    with Image.open(out) as image:
        assert np.asarray(image).max() > 40_000
    assert any("uses the whole range" in note for note in made.notes)


def test_a_dark_deep_picture_is_named(restore: Restore) -> None:
    """Undeclared twelve bits in sixteen are restored unchanged, and a note names the option."""
    grey = (picture()[..., 0] * 4095).round().astype(np.uint16)
    _, made = restore(grey)
    assert any("--white 4095" in note for note in made.notes)
    assert not any("--white" in note for note in restore((grey * 16).astype(np.uint16))[1].notes)


def test_a_few_highlights_are_named(restore: Restore) -> None:
    """A float image with less than a hundredth above white is restored; a note gives the share."""
    samples = picture()
    samples[0, 0] = 3.0
    _, made = restore(samples)
    assert any("are outside black and white" in note for note in made.notes)
