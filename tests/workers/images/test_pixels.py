"""All kinds of pixels in archives, written and read by other libraries than Respool's."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from safetensors.torch import save

from contract.errors import BadInput, Unsupported
from contract.job import Spec, Weights
from contract.settings import Settings
from media.images.header import read_picture
from workers.generators.enhancer import Enhancer
from workers.generators.registry import load
from workers.images import blocks
from workers.images.icc_curves import interpret
from workers.images.image import ImageResult, enhance_image


def enhance(source: Path, out: Path, **spec: object) -> ImageResult:
    wanted = Spec(**{"model": "lanczos", "scale": 2.0, **spec})  # type: ignore[arg-type]
    enhancer = load(wanted, {}, Settings(device="cpu"))
    return enhance_image(source, out.name, wanted, enhancer, out, lambda: None)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Enhancer]:
    """A small SRVGG with random weights, in the precision that is fastest on this machine."""
    torch.manual_seed(5)
    parameters: dict[str, int | float | str | bool] = {"num_feat": 8, "num_conv": 2, "upscale": 2, "act_type": "prelu"}
    state = _state(parameters)
    data = save(state)
    digest = hashlib.sha256(data).hexdigest()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    path.write_bytes(data)
    entry = Weights("generator", "small", digest, "srvgg", parameters, "CC0-1.0", "made by the test")
    spec = Spec(model="small", scale=2.0, weights=(entry,), precision="bf16")
    return spec, load(spec, {digest: path}, Settings(device="cpu", backend="torch"))


def _state(parameters: dict[str, int | float | str | bool]) -> dict[str, torch.Tensor]:
    from workers.generators.basicsr_archs import architecture

    net = architecture("srvgg_arch", "SRVGGNetCompact")(num_in_ch=3, num_out_ch=3, **parameters)
    return {k: v.detach() * 0.3 for k, v in net.state_dict().items()}


def run(source: Path, out: Path, network: tuple[Spec, Enhancer]) -> ImageResult:
    return enhance_image(source, out.name, network[0], network[1], out, lambda: None)


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    """Return a colour image without noise, 8 bit."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1).astype(np.uint8)


def test_a_half_precision_network_gives_real_sixteen_bits(tmp_path: Path, network: tuple[Spec, Enhancer]) -> None:
    """A 16-bit ramp through a network that runs in bfloat16 for films has more than 10,000 levels, and the record reports fp32."""
    assert network[1].precision == "bf16"
    ramp = np.linspace(8000, 57000, 160 * 160).round().astype(np.uint16).reshape(160, 160)
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    made = run(tmp_path / "a.tif", tmp_path / "b.tif", network)
    assert len(np.unique(tifffile.imread(tmp_path / "b.tif"))) > 10_000
    assert made.record["precision"] == "fp32"


def test_a_network_cut_into_blocks_equals_the_whole(
    tmp_path: Path, network: tuple[Spec, Enhancer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks with the generator's halo equal the untiled image to one 16-bit level."""
    noise = np.random.default_rng(2).integers(0, 65536, (150, 170, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", noise, photometric="rgb")
    run(tmp_path / "a.tif", tmp_path / "whole.tif", network)
    monkeypatch.setattr(blocks, "SMALLEST", 40)
    run(tmp_path / "a.tif", tmp_path / "cut.tif", network)
    whole, cut = (tifffile.imread(tmp_path / n).astype(int) for n in ("whole.tif", "cut.tif"))
    assert np.abs(whole - cut).max() <= 1


def test_cmyk_is_converted_by_its_profile(tmp_path: Path) -> None:
    """A CMYK image becomes RGB with an sRGB profile, in the colours of LittleCMS, with a note."""
    rgb = Image.fromarray(smooth())
    for name, options in (("a.jpg", {"quality": 100, "subsampling": 0}), ("a.tif", {})):
        rgb.convert("CMYK").save(tmp_path / name, **options)
        made = enhance(tmp_path / name, tmp_path / f"b-{name}", scale=1.0)
        assert any("CMYK" in note for note in made.notes)
        with Image.open(tmp_path / f"b-{name}") as image:
            assert image.mode == "RGB"
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
            pixels = np.asarray(image).astype(int)
        assert np.abs(np.diff(pixels.mean((0, 1)))).max() < 60
        assert pixels[0, 0].mean() < pixels[-1, -1].mean()


def test_palette_and_bilevel_become_tones(tmp_path: Path) -> None:
    """Palette images become RGB, 1-bit images (CCITT included) grey, each with a note; white stays white."""
    Image.fromarray(smooth()).quantize(16).save(tmp_path / "p.png")
    Image.fromarray(smooth()).quantize(16).save(tmp_path / "p.tif")
    bit = Image.fromarray(((smooth()[..., 0] > 128) * 255).astype(np.uint8)).convert("1")
    bit.save(tmp_path / "g4.tif", compression="group4")
    bit.save(tmp_path / "bit.png")
    for name, mode, word in (
        ("p.png", "RGB", "palette"),
        ("p.tif", "RGB", "palette"),
        ("g4.tif", "L", "1-bit"),
        ("bit.png", "L", "1-bit"),
    ):
        made = enhance(tmp_path / name, tmp_path / f"b-{name}")
        assert any(word in note for note in made.notes), name
        with Image.open(tmp_path / f"b-{name}") as image:
            assert image.mode == mode
            if mode == "L":
                assert image.getpixel((120, 10)) == 255
                assert image.getpixel((5, 10)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"planarconfig": "separate"},
        {"photometric": "minisblack"},
        {"photometric": "miniswhite"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiff_layouts(tmp_path: Path, options: dict[str, object], kind: type) -> None:
    """Strips, tiles, planes, BigTIFF, both byte orders and white-is-zero are read correctly."""
    grey = "minis" in str(options.get("photometric"))
    pixels = smooth().astype(kind) * (257 if kind is np.uint16 else 1)
    stored = pixels[..., 0] if grey else pixels
    seen = stored.max() * 0 + np.iinfo(kind).max - stored if options.get("photometric") == "miniswhite" else stored
    if options.get("planarconfig"):
        stored = np.moveaxis(stored, -1, 0).copy()
    writer = {k: v for k, v in options.items() if k not in ("bigtiff", "byteorder")}
    with tifffile.TiffWriter(
        tmp_path / "a.tif", bigtiff=bool(options.get("bigtiff")), byteorder=options.get("byteorder", "<")
    ) as tiff:
        tiff.write(stored, **{"photometric": "rgb", **writer})
    enhance(tmp_path / "a.tif", tmp_path / "b.tif", scale=1.0)
    made = tifffile.imread(tmp_path / "b.tif")
    assert made.dtype == kind
    assert np.array_equal(made, seen)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_tiff_compressions(tmp_path: Path, compression: str) -> None:
    """LZW, deflate, JPEG and PackBits are read as Pillow reads them."""
    Image.fromarray(smooth()).save(tmp_path / "a.tif", compression=compression)
    enhance(tmp_path / "a.tif", tmp_path / "b.tif", scale=1.0)
    with Image.open(tmp_path / "a.tif") as given:
        expected = np.asarray(given.convert("RGB")).astype(int)
    assert np.abs(tifffile.imread(tmp_path / "b.tif").astype(int) - expected).max() <= (
        3 if compression == "jpeg" else 0
    )


def test_every_page_is_restored(tmp_path: Path) -> None:
    """Pages of different sizes and depths are all restored; a preview among them is omitted with a note."""
    pages = [smooth(), (smooth(20, 30)[..., 0].astype(np.uint16) * 257), smooth(33, 17)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for n, page in enumerate(pages):
            kind = "rgb" if page.ndim == 3 else "minisblack"
            tiff.write(
                page,
                photometric=kind,
                description=f"page {n}",
                metadata=None,
                resolution=(100 + n, 100 + n),
                resolutionunit=2,
            )
        tiff.write(smooth(8, 8), photometric="rgb", subfiletype=1, metadata=None)
    made = enhance(tmp_path / "a.tif", tmp_path / "b.tif")
    assert any("1 reduced" in note for note in made.notes)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert [page.shape for page in tiff.pages] == [(96, 128, 3), (40, 60), (66, 34, 3)]
        assert [page.dtype for page in tiff.pages] == [np.uint8, np.uint16, np.uint8]
        assert [page.description for page in tiff.pages] == ["page 0", "page 1", "page 2"]
        assert [page.tags[282].value[0] / page.tags[282].value[1] for page in tiff.pages] == [200, 202, 204]
        for page, given in zip(tiff.pages, pages, strict=True):
            assert abs(page.asarray().mean() - given.mean()) < given.max() / 100
    with Image.open(tmp_path / "b.tif") as image:
        assert image.n_frames == 3
    with pytest.raises(Unsupported, match="3 pages"):
        enhance(tmp_path / "a.tif", tmp_path / "b.png")


def wide_gamut() -> bytes:
    """Return Adobe RGB (1998) as an ICC.1 matrix profile: its primaries under D50, gamma 563/256."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563) + b"\0\0"

    def xyz(*v: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(x * 65536) for x in v))

    tags = {
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947), b"gXYZ": xyz(0.20528, 0.62567, 0.06087), b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"wtpt": xyz(0.9505, 1.0, 1.0891), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
    }  # fmt: skip
    body, table = b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 132 + len(table) + len(body)
    head = (
        struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
        + bytes(12)
        + b"acsp"
        + bytes(28)
    )
    head += struct.pack(">3i", *(round(x * 65536) for x in (0.9642, 1.0, 0.8249)))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_profiles_agree_with_littlecms() -> None:
    """Colours inside sRGB are converted as by LittleCMS, and back to the same 16-bit level."""
    profile = wide_gamut()
    meaning, reason = interpret(profile, 3)
    assert meaning is not None
    assert not reason
    levels = np.random.default_rng(1).integers(64, 192, (16, 16, 3), dtype=np.uint8)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(
        Image.fromarray(levels),
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    x = torch.from_numpy(levels.astype(np.float32) / 255).permute(2, 0, 1)[None]
    seen = meaning.to_srgb(x)
    found = (seen[0].permute(1, 2, 0).clamp(0, 1) * 255).numpy()
    assert np.abs(found - np.asarray(expected).astype(float)).max() < 1.1
    assert float((meaning.from_srgb(seen) - x).abs().max()) < 1 / 65535


def test_colours_outside_srgb_are_not_clipped(tmp_path: Path, network: tuple[Spec, Enhancer]) -> None:
    """A saturated Adobe RGB green keeps its values through a network for sRGB, and its profile bytes."""
    profile = wide_gamut()
    Image.new("RGB", (40, 40), (20, 250, 30)).save(tmp_path / "a.png", icc_profile=profile)
    enhance(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == profile
        assert np.abs(np.asarray(image).astype(int) - (20, 250, 30)).max() <= 1


def test_a_profile_for_other_pixels_is_noted(tmp_path: Path) -> None:
    """A profile that does not fit the pixels changes nothing, is kept, and is named in a note."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (20, 20), (200, 40, 90)).save(tmp_path / "a.png", icc_profile=profile)
    made = enhance(tmp_path / "a.png", tmp_path / "b.png")
    assert any("profile" in note for note in made.notes)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == profile
        assert np.abs(np.asarray(image).astype(int) - (200, 40, 90)).max() <= 1


def test_camera_raw_and_animations_are_refused(tmp_path: Path) -> None:
    """A TIFF that begins with a preview, an animated WebP and an animated PNG are refused, as most of them would be lost."""
    with tifffile.TiffWriter(tmp_path / "raw.tif") as tiff:
        tiff.write(smooth(8, 8), photometric="rgb", subfiletype=1, metadata=None)
        tiff.write(smooth()[..., 0].copy(), photometric=32803, metadata=None)
    frames = [Image.fromarray(np.roll(smooth(), n * 9, 1)) for n in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    for name in ("raw.tif", "moving.webp", "moving.png"):
        with pytest.raises(Unsupported, match=name):
            read_picture(tmp_path / name, name)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_broken_bytes_never_do_harm(tmp_path: Path, suffix: str) -> None:
    """Flipped, cut and repeated bytes give a result or one sentence that names the file, no crash and no leftover files."""
    good = tmp_path / f"good{suffix}"
    block = Image.Exif()
    block[0x010F] = "Maker"
    Image.fromarray(smooth()).save(good, **({} if suffix == ".avif" else {"exif": block}))
    data = good.read_bytes()
    rng = np.random.default_rng(7)
    bad = tmp_path / f"bad{suffix}"
    spec = Spec(model="lanczos", scale=2.0)
    enhancer = (spec, load(spec, {}, Settings(device="cpu")))
    said = []
    for _ in range(25):
        hurt = bytearray(data)
        for place in rng.integers(0, min(len(hurt), 400), 4):
            hurt[place] = rng.integers(0, 256)
        bad.write_bytes(hurt[: rng.integers(len(hurt) // 2, len(hurt) + 1)])
        try:
            enhance_image(bad, f"bad{suffix}", *enhancer, tmp_path / f"out{suffix}", lambda: None)
        except BadInput as error:
            said.append(str(error))
    assert said
    assert all(bad.name in sentence and "\n" not in sentence for sentence in said)
    assert {path.name for path in tmp_path.iterdir()} <= {good.name, bad.name, f"out{suffix}"}
