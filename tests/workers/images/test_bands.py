"""Large images in bands: equal to the image enhanced whole, joined without loss."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract import keys
from contract.errors import BadInput
from contract.job import Item, Spec
from contract.settings import Settings
from media.images import metadata_tiff
from media.images.bands import BAND, STRIP, band_count, band_rows
from orchestrator.assemble.image import assemble_image
from orchestrator.ingest.images import is_large, plan_bands
from stores.storage import Storage
from workers.generators.registry import load
from workers.images.image import enhance_band, enhance_image
from workers.runtime.job_cache import JobCache

SIDES = st.integers(100, 200_000)


@given(SIDES, SIDES, SIDES)
def test_bands_cover_every_row_once(width: int, height: int, result: int) -> None:
    """Bands are contiguous from the first row to the last, none is empty, and all but the last end with a strip."""
    count = band_count(width, height, result)
    spans = [band_rows(result, band, count) for band in range(count)]
    assert spans[0][0] == 0
    assert spans[-1][1] == result
    assert all(top < bottom for top, bottom in spans)
    assert all(before[1] == after[0] and before[1] % STRIP == 0 for before, after in pairwise(spans))
    assert (count == 1) == (width * height <= 2 * BAND) or result <= STRIP


def test_small_images_stay_whole() -> None:
    """Only images with more pixels than two bands are divided."""
    item = Item(0, "image", "a.tif", "a.tif", "0" * 64, 1, 2 * BAND)
    assert not is_large(item)
    assert is_large(Item(0, "image", "a.tif", "a.tif", "0" * 64, 1, 2 * BAND + 1))


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
@pytest.mark.parametrize("scale", [2.0, 1.3])
def test_bands_equal_the_whole(tmp_path: Path, suffix: str, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image enhanced in bands has the pixels and metadata of the image enhanced whole, in every format."""
    monkeypatch.setattr("media.images.bands.BAND", 60 * 60)
    spec = Spec(model="lanczos", scale=scale)
    enhancer = load(spec, {}, Settings(device="cpu"))
    source = tmp_path / f"a{suffix}"
    pixels = np.random.default_rng(4).integers(0, 256, (260, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(source, dpi=(300, 300))
    enhance_image(source, source.name, spec, enhancer, tmp_path / f"whole{suffix}", lambda: None)
    item = Item(0, "image", source.name, source.name, "0" * 64, 1, 260 * 90)
    with source.open("rb") as stream:
        count = plan_bands(stream, item, spec, enhancer.scale)
        assert count > 1
        bands = [tmp_path / f"band{n}" for n in range(count)]
        for n, band in enumerate(bands):
            enhance_band(source, source.name, spec, enhancer, band, lambda: None, (n, count))
        assemble_image(stream, item, spec, enhancer.scale, bands, tmp_path / f"joined{suffix}")
    with Image.open(tmp_path / f"whole{suffix}") as whole, Image.open(tmp_path / f"joined{suffix}") as joined:
        assert joined.info.get("dpi") == whole.info.get("dpi")
        off = np.abs(np.asarray(whole).astype(int) - np.asarray(joined).astype(int))
    assert off.max() <= 1
    assert np.count_nonzero(off) < off.size / 1000


def test_past_four_gigabytes_offsets_have_64_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIFF too large for 32-bit offsets is written as BigTIFF, which another library reads."""
    monkeypatch.setattr(metadata_tiff, "BIG", 1000)
    pixels = np.random.default_rng(4).integers(0, 65536, (50, 60), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, description="large", metadata=None)
    spec = Spec(model="lanczos", scale=1.0)
    enhancer = load(spec, {}, Settings(device="cpu"))
    enhance_image(tmp_path / "a.tif", "a.tif", spec, enhancer, tmp_path / "b.tif", lambda: None)
    with tifffile.TiffFile(tmp_path / "b.tif") as made:
        assert made.is_bigtiff
        assert made.pages[0].description == "large"
        assert np.array_equal(made.asarray(), pixels)


def test_a_large_source_is_fetched_once_for_all_of_its_bands(settings: Settings) -> None:
    """The second band uses the cached source, even if the store has lost it; a source with another hash is refused."""
    storage = Storage(settings)
    job, good = "0" * 16, Item(0, "image", "a.tif", "a.tif", hashlib.sha256(b"pixels").hexdigest(), 6)
    cache = JobCache(settings, storage)
    storage.put(keys.source(job, 0), b"pixels")
    path = cache.banded_source(job, good)
    storage.delete(keys.source(job, 0))
    assert cache.banded_source(job, good) == path
    assert path.read_bytes() == b"pixels"
    storage.put(keys.source(job, 1), b"others")
    with pytest.raises(BadInput, match="as submitted"):
        cache.banded_source(job, msgspec.structs.replace(good, n=1, sha256=hashlib.sha256(b"wanted").hexdigest()))
