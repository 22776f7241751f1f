"""Damage that is known, measured: JPEG exactly, noise within 20%, blur within the range that is stated."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from contract.errors import BadInput
from contract.programs import Program, command_line
from training import jpeg_tables, noise_level, quantiser
from training.data.sources import Source
from training.degrade.apply import degrade
from training.degrade.codec import encoded
from training.degrade.damage_file import read_damage
from training.degrade.draw import PULSE, Draw, Kernel, Noise, Round
from training.measurement import measure

SCALE = 2


def rgb(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.repeat(pixels[:, :, None], 3, 2) if pixels.ndim == 2 else pixels[:, :, :3])


@pytest.fixture(scope="module")
def archive() -> list[np.ndarray]:
    data = skimage.data
    return [rgb(a) for a in (data.astronaut(), data.coffee(), data.rocket(), data.moon(), data.hubble_deep_field())]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Clean pictures of the same kind, and others than those of the archive."""
    folder = tmp_path_factory.mktemp("originals")
    data = skimage.data
    pictures = [
        data.chelsea(),
        data.retina()[:900, :900],
        data.immunohistochemistry(),
        data.coins(),
        data.camera(),
        data.stereo_motorcycle()[0],
    ]
    found = []
    for n, pixels in enumerate(pictures):
        cv2.imwrite(str(folder / f"{n}.png"), rgb(pixels)[:, :, ::-1])
        found.append(Source(f"{n}", folder / f"{n}.png"))
    return found


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 100])
def test_jpeg_quality_is_read_exactly(quality: int, tmp_path: Path) -> None:
    """Every quality that OpenCV and Pillow write is read back exactly, from baseline and progressive files."""
    pixels = skimage.data.astronaut()[:64, :64]
    cv2.imwrite(str(tmp_path / "a.jpg"), pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    Image.fromarray(pixels).save(tmp_path / "b.jpg", quality=quality, progressive=True)
    for name in ("a.jpg", "b.jpg"):
        found = jpeg_tables.quality(tmp_path / name)
        assert found
        assert (found.value, found.exact) == (quality, True)


def test_other_files_and_other_tables_are_told_apart(tmp_path: Path) -> None:
    """A PNG has no quality; tables of a camera's own are near one, and not exact; a cut file has none."""
    pixels = skimage.data.astronaut()[:64, :64]
    own = io.BytesIO()
    Image.fromarray(pixels).save(own, "JPEG", qtables=[[min(255, 3 + n) for n in range(64)]] * 2)
    for name, data in (("own.jpg", own.getvalue()), ("cut.jpg", own.getvalue()[:30]), ("not.jpg", b"\x89PNG")):
        (tmp_path / name).write_bytes(data)
    found = jpeg_tables.quality(tmp_path / "own.jpg")
    assert found
    assert not found.exact
    assert jpeg_tables.quality(tmp_path / "cut.jpg") is None
    assert jpeg_tables.quality(tmp_path / "not.jpg") is None


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 20))])
def test_known_damage_is_measured(
    number: int, archive: list[np.ndarray], originals: list[Source], tmp_path: Path
) -> None:
    """Blur, noise and, in every other draw, JPEG of a known draw are found on five degraded pictures."""
    rng = np.random.default_rng(1000 + number)
    wide, share = float(rng.uniform(1.0, 3.0)), float(rng.uniform(0.4, 1.0))
    sigma, theta = float(rng.uniform(2.5, 10)), float(rng.uniform(-1.5, 1.5))
    quality = int(rng.integers(88, 99)) if number % 2 else 0
    kernel = Kernel("aniso", 21, wide, wide * share, theta)
    turn = Round(kernel, 1 / SCALE, "area", Noise("gaussian", sigma, grey=True), 0)
    found = []
    for n, pixels in enumerate(archive):
        low = degrade(pixels, Draw(number * 10 + n, (turn,), "area", PULSE, sinc_first=False), SCALE)
        path = tmp_path / f"{n}.{'jpg' if quality else 'png'}"
        cv2.imwrite(str(path), low[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality] if quality else [])
        found.append(Source(path.name, path))
    damage, measured = measure(found, originals, SCALE)
    first = damage.ranges.first
    assert first.jpeg_probability == (1.0 if quality else 0.0)
    if quality:
        assert first.jpeg == (quality, quality)
    assert float(np.median(measured.noises)) == pytest.approx(sigma, rel=0.2)
    assert first.gaussian_noise[0] <= sigma <= first.gaussian_noise[1] * 1.05
    assert first.blur_sigma_y
    assert first.blur_sigma[0] <= wide <= first.blur_sigma[1]
    assert first.blur_sigma_y[0] <= wide * share <= first.blur_sigma_y[1]
    assert first.blur_sigma[1] < 3 * wide + 1


def test_static_areas_of_films_give_the_noise() -> None:
    """Between two frames of which a third moves, noise is that of the rest: within 10%."""
    rng = np.random.default_rng(3)
    scene = cv2.resize(skimage.data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA).astype(np.float64)
    moved = scene.copy()
    moved[:80] = np.roll(scene[:80], 7, 1)
    first, second = ((s + rng.normal(0, 4, s.shape)).clip(0, 255).round().astype(np.uint8) for s in (scene, moved))
    found = noise_level.of_frames(first, second)
    assert found
    assert found.luma / 0.669 == pytest.approx(4, rel=0.1)
    assert found.chroma > found.luma


def film_of(path: Path, codec: str, pix_fmt: str, **options: str) -> Path:
    """Write six noisy frames with a codec, at a fixed quantiser where `options` say so."""
    rng = np.random.default_rng(1)
    scene = cv2.resize(skimage.data.coffee(), (192, 160), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 192, 160, pix_fmt
        for _ in range(6):
            noisy = (scene + rng.normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")))
        film.mux(stream.encode())
    return path


@pytest.mark.parametrize("value", [1, 3, 8, 31])
@pytest.mark.parametrize(
    ("codec", "name"),
    [("mpeg2video", "film.mpg"), ("mpeg1video", "film.mpg"), ("mpeg4", "film.avi"), ("mjpeg", "film.avi")],
)
def test_a_films_quantiser_is_read_exactly(codec: str, name: str, value: int, tmp_path: Path) -> None:
    """The quantiser with which a film was coded is the measured range, both ends."""
    fixed = {"qmin": str(value), "qmax": str(value)}
    path = film_of(tmp_path / name, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", **fixed)
    damage, _ = measure([Source("f", path)], [], 2)
    assert damage.ranges.film.quantiser == (value, value)
    assert damage.ranges.film.codecs == (codec.replace("1video", "2video"),)


@pytest.mark.parametrize(("own", "expected"), [("12", (1, 1)), ("24", (4, 4)), ("33", (11, 12)), ("42", (31, 31))])
def test_h264s_quantiser_is_read_on_mpegs_scale(own: str, expected: tuple[int, int], tmp_path: Path) -> None:
    """Six steps of H.264's quantiser double MPEG's."""
    path = film_of(tmp_path / "film.mp4", "libx264", "yuv420p", qp=own, **{"x264-params": "ipratio=1:pbratio=1"})
    damage, _ = measure([Source("f", path)], [], 2)
    assert damage.ranges.film.quantiser == expected


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4", "libx264", "mjpeg"])
def test_synthetic_and_measured_quantisers_are_one_scale(codec: str, tmp_path: Path) -> None:
    """A frame that a damage file's codec coded at quantiser 4 is measured as 4."""
    data = encoded(np.ascontiguousarray(skimage.data.coffee()[:160, :192]), codec, 4)
    path = tmp_path / ("film.mpg" if codec == "mpeg2video" else "film.mkv")
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25)
        stream.width, stream.height = 192, 160
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for n in range(3):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), n, n
            packet.is_keyframe = True
            film.mux(packet)
    assert quantiser.limits(quantiser.of_film(path)) == (4, 4)


def test_what_could_not_be_told_is_noted(tmp_path: Path) -> None:
    """Without clean material blur is left out, an unknown codec and an unreadable file are named."""
    path = film_of(tmp_path / "film.mkv", "ffv1", "yuv420p")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    damage, _ = measure([Source("f", path), Source("b", tmp_path / "broken.png")], [], 2)
    said = " ".join(damage.notes)
    assert damage.ranges.film.codecs == ()
    assert damage.ranges.first.blur_probability == 0
    for part in ("broken.png was left out", "is ffv1, which no damage file has", "Blur could not be told"):
        assert part in said
    with pytest.raises(BadInput, match=r"broken\.png"):
        measure([Source("b", tmp_path / "broken.png")], [], 2)


@pytest.mark.slow
def test_the_program_writes_a_file_that_finetune_reads(clean: Path, tmp_path: Path) -> None:
    """The program's damage file is read back, its sheet is a picture, and what it says goes to stdout and stderr."""
    out, sheet = tmp_path / "damage.toml", tmp_path / "sheet.png"
    line = command_line(
        Program.MEASURE_DAMAGE, clean, "--output", out, "--clean", clean, "--scale", 2, "--sheet", sheet
    )
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_damage(out).ranges.first.jpeg_probability == 0
    assert "noise of sigma" in done.stdout
    assert "note: " in done.stderr
    assert cv2.imread(str(sheet)) is not None
