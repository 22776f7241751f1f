"""Enhancement of still images: sizes, modes, depths, and blocks without visible seams."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from contract.errors import BadInput, Unsupported
from contract.job import Spec
from contract.settings import Settings
from workers.generators.lanczos import resize, resize_window
from workers.generators.registry import load
from workers.images import blocks
from workers.images.image import ImageResult, enhance_image


def enhance(source: Path, out: Path, **spec: object) -> ImageResult:
    wanted = Spec(**{"model": "lanczos", "scale": 2.0, **spec})  # type: ignore[arg-type]
    enhancer = load(wanted, {}, Settings(device="cpu"))
    return enhance_image(source, out.name, wanted, enhancer, out, lambda: None)


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [("a.jpg", "RGB", (80, 60)), ("a.png", "L", (80, 60)), ("a.png", "RGBA", (80, 60)), ("a.tif", "LA", (80, 60)),
     ("a.webp", "RGB", (80, 60)), ("a.webp", "RGBA", (80, 60)), ("a.avif", "RGB", (80, 60))],
)  # fmt: skip
def test_mode_and_format_stay(tmp_path: Path, name: str, mode: str, size: tuple[int, int]) -> None:
    """Grey stays grey, alpha stays alpha, the format stays, and the size is exactly scale times the source's."""
    source, out = tmp_path / name, tmp_path / "out" / name
    out.parent.mkdir()
    bands = len(Image.new(mode, (1, 1)).getbands())
    Image.fromarray(noise(30, 40, bands).squeeze(), mode).save(source)
    enhance(source, out)
    with Image.open(out) as made, Image.open(source) as given:
        assert made.mode == mode
        assert made.size == size
        assert made.format == given.format


@pytest.mark.parametrize(("scale", "size"), [(3.5, (140, 105)), (0.5, (20, 15)), (1.0, (40, 30)), (4.0, (160, 120))])
def test_any_scale_is_met_exactly(tmp_path: Path, scale: float, size: tuple[int, int]) -> None:
    """Any factor gives the size rounded half up, for a generator of another or the same factor."""
    source, out = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(noise(30, 40, 3)).save(source)
    made = enhance(source, out, scale=scale)
    assert (made.width, made.height) == size
    with Image.open(out) as shown:
        assert shown.size == size


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    """A 16-bit ramp has more than 10,000 levels in the result, so no step rounds to eight bits."""
    source, out = tmp_path / "a.tif", tmp_path / "b.tif"
    ramp = np.linspace(0, 65535, 128 * 128).round().astype(np.uint16).reshape(128, 128)
    tifffile.imwrite(source, ramp)
    enhance(source, out)
    made = tifffile.imread(out)
    assert made.dtype == np.uint16
    assert made.shape == (256, 256)
    assert len(np.unique(made)) > 10_000


def test_a_dark_scan_is_not_brightened(tmp_path: Path) -> None:
    """The depth is read from the file: 16-bit values below 256 stay dark."""
    source, out = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(source, np.full((20, 20), 200, np.uint16))
    enhance(source, out)
    assert np.all(tifffile.imread(out) == 200)


def test_float_samples_keep_values_beyond_white(tmp_path: Path) -> None:
    """A float TIFF stays float, and values above 1 or below 0 are enlarged and not clipped."""
    source, out = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(source, np.full((20, 20, 3), (-0.25, 0.5, 3.0), np.float32), photometric="rgb")
    enhance(source, out)
    made = tifffile.imread(out)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, np.broadcast_to(np.float32([-0.25, 0.5, 3.0]), made.shape), atol=1e-5)


@pytest.mark.parametrize("scale", [2.0, 1.7])
def test_blocks_equal_the_whole(tmp_path: Path, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image enhanced in many blocks has the same pixels as the image enhanced whole, for any factor."""
    source = tmp_path / "a.png"
    Image.fromarray(noise(150, 210, 3)).save(source)
    enhance(source, tmp_path / "whole.png", scale=scale)
    monkeypatch.setattr(blocks, "SMALLEST", 48)
    enhance(source, tmp_path / "cut.png", scale=scale)
    whole, cut = (np.asarray(Image.open(tmp_path / n)).astype(int) for n in ("whole.png", "cut.png"))
    assert (
        np.abs(whole - cut).max() <= 1
    )  # a matrix product of another shape may round the last bit of fp32 differently
    assert np.count_nonzero(whole - cut) < whole.size // 10_000


def test_a_window_equals_the_whole() -> None:
    """`resize_window` equals the same pixels of `resize`."""
    rgb = torch.from_numpy(noise(97, 131, 3).astype(np.float32)).permute(2, 0, 1)[None]
    whole = resize(rgb, (200, 300))
    part = resize_window(rgb, (0, 0), (97, 131), (200, 300), (64, 128, 192, 300))
    assert torch.allclose(part, whole[..., 64:192, 128:300], atol=1e-4)


def test_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    """A truncated file, text and a GIF are refused in one sentence that names the file."""
    good = tmp_path / "good.png"
    Image.fromarray(noise(200, 200, 3)).save(good)
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:60_000])
    text = tmp_path / "text.jpg"
    text.write_text("this is no photograph")
    gif = tmp_path / "moving.png"
    frames = [Image.fromarray(noise(8, 8)), Image.new("RGB", (8, 8))]
    frames[0].save(gif, format="GIF", save_all=True, append_images=frames[1:])
    for path, kind, word in [(cut, BadInput, "damaged"), (text, BadInput, "not an image"), (gif, Unsupported, "GIF")]:
        with pytest.raises(kind, match=word) as caught:
            enhance(path, tmp_path / f"out-{path.name}")
        assert path.name in str(caught.value)
    assert not list(tmp_path.glob("*.raw"))


def test_a_name_that_is_not_utf8_is_opened(tmp_path: Path) -> None:
    """A file with a Latin-1 name on a UTF-8 file system is read like any other."""
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Stra\xdfe.png"))
    Image.fromarray(noise(6, 8, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(source)
    made = enhance(source, tmp_path / "b.png")
    assert (made.width, made.height) == (16, 12)


def test_identity_copies_the_file(tmp_path: Path) -> None:
    """The identity generator copies the file byte for byte, with a note."""
    source, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(noise(30, 40, 3)).save(source)
    made = enhance(source, out, model="identity", scale=None)
    assert out.read_bytes() == source.read_bytes()
    assert made.notes
