"""Numbered images as a film: which files, in which order, byte for byte; and what is refused instead of guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import pyvips
import tifffile

from contract.errors import BadInput, Unsupported, UsageError
from contract.film import ImageSequence
from contract.job import Spec
from contract.settings import Settings
from orchestrator.ingest.images import kind_of, probe_image
from orchestrator.submission.numbering import numbered
from orchestrator.submission.sequence import gathered, pack_sequence, parse_rate
from orchestrator.submission.sources import Found
from testkit.materials.in_process import restore

WIDTH, HEIGHT = 64, 48
Writer = Callable[[Path, np.ndarray], None]


def picture(n: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """16-bit RGB that uses all its bits."""
    return np.random.default_rng(n).integers(0, 1 << 16, (height, width, 3), dtype=np.uint16)


def tiff(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path, pixels, photometric="rgb")


def tiff_lzw(path: Path, pixels: np.ndarray) -> None:
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16")
    image.tiffsave(str(path), compression="lzw", predictor="horizontal")


def png(path: Path, pixels: np.ndarray) -> None:
    pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16").pngsave(str(path))


def dpx(path: Path, pixels: np.ndarray) -> None:
    """10 bits a sample, as film scanners write them: of `pixels`, the upper ten."""
    context = av.CodecContext.create("dpx", "w")
    context.width, context.height, context.pix_fmt = pixels.shape[1], pixels.shape[0], "gbrp10le"
    context.time_base = Fraction(1, 24)
    frame = av.VideoFrame.from_ndarray(pixels >> 6, format="gbrp10le")
    frame.pts = 0
    path.write_bytes(bytes((context.encode(frame) + context.encode(None))[0]))


@pytest.fixture
def reel(tmp_path: Path) -> Path:
    folder = tmp_path / "reel"
    folder.mkdir()
    return folder


def packed(folder: Path, rate: Fraction = Fraction(24)) -> tuple[ImageSequence, list[str], Path]:
    notes: list[str] = []
    out = folder.parent / "packed.mov"
    made, said = pack_sequence(numbered(folder, notes), folder.name, rate, out)
    return made, notes + said, out


KINDS: dict[str, tuple[Writer, str, int]] = {
    "tiff": (tiff, ".tif", 0),
    "tiff-lzw": (tiff_lzw, ".tiff", 0),
    "png": (png, ".png", 0),
    "dpx": (dpx, ".DPX", 6),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_one_frame_with_all_its_bits(kind: str, reel: Path) -> None:
    """The packed source holds each file's bytes, and the identity gives every sample of every picture back, at the rate."""
    write, suffix, lost = KINDS[kind]
    for n in range(7):
        write(reel / f"scan_{n + 98:04}{suffix}", picture(n))
    (reel / "notes.txt").write_text("reel 3, splice in the middle")
    made, notes, source = packed(reel, Fraction(24000, 1001))
    assert [f.name for f in made.files] == [f"scan_{n + 98:04}{suffix}" for n in range(7)]
    with av.open(str(source)) as film:
        packets = [bytes(p) for p in film.demux(video=0) if p.size]
    assert [hashlib.sha256(p).hexdigest() for p in packets] == [f.sha256 for f in made.files]
    assert packets == [(reel / f.name).read_bytes() for f in made.files]
    assert any("notes.txt" in note for note in notes)
    assert any(f"7 files ({made.format.upper()}, scan_0098{suffix} to scan_0104{suffix})" in note for note in notes)

    done = restore(source, "reel.mkv", Spec(model="identity", codec="ffv1", chunk_frames=3), reel.parent)
    assert done.index.rate == Fraction(24000, 1001)
    assert len(done.index.chunks) == 3
    assert not done.damage
    result = reel.parent / "result.mkv"
    result.write_bytes(done.data)
    with av.open(str(result)) as film:
        frames = [frame.to_ndarray() for frame in film.decode(video=0)]
    assert len(frames) == 7
    for n, frame in enumerate(frames):
        assert np.array_equal(frame, picture(n) >> lost)


def test_the_same_images_are_the_same_film(reel: Path) -> None:
    """Packing twice gives the same bytes, so that a command that was stopped finds its job again."""
    for n in range(3):
        tiff(reel / f"{n}.tif", picture(n))
    first = packed(reel)[2].read_bytes()
    assert packed(reel)[2].read_bytes() == first


def touch(*names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).touch()

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (touch("scan_0001.tif", "scan_0002.tif", "scan_0004.tif"), ["number 3 ", "scan_0002.tif", "scan_0004.tif"]),
        (touch("a9.tif", "a12.tif"), ["numbers 10 to 11"]),
        (touch("a1.tif", "a01.tif"), ["a1.tif", "a01.tif", "same number 1"]),
        (touch("a1.tif", "b2.tif"), ["a1.tif", "b2.tif", "folder of its own"]),
        (touch("a1.tif", "a2.dpx"), ["a1.tif", "a2.dpx"]),
        (touch("a1.tif", "cover.tif"), ["cover.tif", "no number"]),
        (touch(), ["holds no numbered images"]),
        (lambda folder: (folder / "b1").mkdir(), ["b1", "folder"]),
    ],
)
def test_names_that_do_not_give_an_order_are_refused(
    make: Callable[[Path], None], words: list[str], reel: Path
) -> None:
    """A hole, a double, two sequences, a stray name, a folder: one sentence with the number or the file."""
    make(reel)
    with pytest.raises(BadInput) as caught:
        numbered(reel, [])
    for word in words:
        assert word in str(caught.value)


def test_numbers_count_and_not_letters(reel: Path) -> None:
    """scan_10 comes after scan_9, however many digits they are written with."""
    touch(*(f"scan_{n}.tif" for n in range(8, 12)))(reel)
    assert [path.name for path in numbered(reel, [])] == ["scan_8.tif", "scan_9.tif", "scan_10.tif", "scan_11.tif"]


def tiled(path: Path) -> None:
    tifffile.imwrite(path, picture(1), photometric="rgb", tile=(16, 16))


def turned(path: Path) -> None:
    image = pyvips.Image.new_from_array(picture(1)).copy(interpretation="rgb16")
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.tiffsave(str(path))


def cut_off(path: Path) -> None:
    tiff(path, picture(1))
    path.write_bytes(path.read_bytes()[:-500])


def turned_dpx(path: Path) -> None:
    dpx(path, picture(1))
    data = bytearray(path.read_bytes())
    data[769 if data[:4] == b"SDPX" else 768] = 3
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: tiff(path, picture(1, 32, 48)), ["a2.tif", "32x48", "64x48"]),
        (lambda path: tiff(path, (picture(1) >> 8).astype(np.uint8)), ["a2.tif", "rgb24", "rgb48le"]),
        (lambda path: png(path, picture(1)), ["a2.tif", "PNG", "TIFF"]),
        (lambda path: tifffile.imwrite(path, np.stack([picture(1)] * 2), photometric="rgb"), ["a2.tif", "2 pages"]),
        (lambda path: tifffile.imwrite(path, picture(1), photometric="rgb", bigtiff=True), ["a2.tif", "BigTIFF"]),
        (lambda path: path.touch(), ["a2.tif", "empty"]),
        (lambda path: path.write_text("not an image" * 99), ["a2.tif", "not a DPX, TIFF or PNG"]),
        (lambda path: path.write_text("#EXTM3U\nfile:///etc/passwd\n"), ["a2.tif", "not a DPX, TIFF or PNG"]),
        (tiled, ["a2.tif", "differently"]),
        (turned, ["a2.tif", "turned"]),
        (turned_dpx, ["a2.tif", "direction"]),
        (cut_off, ["a2.tif"]),
    ],
)
def test_an_image_that_is_not_like_the_others_is_named(write: Writer, words: list[str], reel: Path) -> None:
    """Another size, depth or format, and whatever the decoder would pass over in silence, is refused by its name."""
    tiff(reel / "a1.tif", picture(0))
    write(reel / "a2.tif")
    with pytest.raises((BadInput, Unsupported)) as caught:
        packed(reel)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    for word in words:
        assert word in str(caught.value)


def test_a_logarithmic_scan_is_said_to_be_one(reel: Path) -> None:
    """DPX that holds printing density is taken as it is, and a note says so."""
    dpx(reel / "1.dpx", picture(1))
    data = bytearray((reel / "1.dpx").read_bytes())
    data[801] = 1
    (reel / "1.dpx").write_bytes(data)
    assert any("printing density" in note for note in packed(reel)[1])


@pytest.mark.parametrize(
    ("text", "rate"),
    [("24", "24"), ("16", "16"), ("23.976", "24000/1001"), ("29.97", "30000/1001"), ("12.5", "25/2"), ("18/1", "18")],
)
def test_rates_are_exact(text: str, rate: str) -> None:
    """Decimals that stand for a rate of NTSC mean it; all others mean themselves."""
    assert parse_rate(text) == Fraction(rate)


@pytest.mark.parametrize("text", ["0", "-24", "1/0", "fast", "nan", "inf", "1001", "1e-9"])
def test_rates_that_are_none_are_refused(text: str) -> None:
    """A sentence names the value."""
    with pytest.raises(UsageError, match="--sequence"):
        parse_rate(text)


def test_the_packed_film_goes_when_the_submission_is_over(reel: Path, tmp_path: Path) -> None:
    """Its place in scratch is empty afterwards, also when a later folder is refused; equal names are refused first."""
    tiff(reel / "1.tif", picture(1))
    scratch, other = tmp_path / "scratch", tmp_path / "b" / "reel"
    scratch.mkdir()
    other.mkdir(parents=True)
    settings = Settings(scratch=scratch)
    with gathered([reel], Fraction(24), settings) as found:
        assert isinstance(found, Found)
        assert found.files[0].path.exists()
        assert found.files[0].name == "reel"
    assert not list(scratch.iterdir())
    with pytest.raises(UsageError, match="'reel'"), gathered([reel, other], Fraction(24), settings):
        pass
    empty = tmp_path / "zero"
    empty.mkdir()
    with pytest.raises(BadInput, match="zero"), gathered([reel, empty], Fraction(24), settings):
        pass
    assert not list(scratch.iterdir())


def test_a_single_dpx_says_which_way_works(tmp_path: Path) -> None:
    """As an image it is refused, and the sentence names --sequence and TIFF."""
    dpx(tmp_path / "title.dpx", picture(1))
    assert kind_of(tmp_path / "title.dpx", "title.dpx") == "image"
    with pytest.raises(Unsupported, match=r"title\.dpx is a DPX file.*--sequence.*16-bit TIFF"):
        probe_image(tmp_path / "title.dpx", "title.dpx")


def test_a_scrambled_image_is_called_an_image(tmp_path: Path) -> None:
    """Bytes that are of nothing known are judged by their suffix; a film is a film whatever it is called."""
    for name in ("empty.png", "junk.tif", "junk.mp4"):
        (tmp_path / name).write_bytes(b"" if "empty" in name else b"junk" * 999)
    tiff(tmp_path / "1.tif", picture(1))
    pack_sequence([tmp_path / "1.tif"], "a", Fraction(24), tmp_path / "film.png")
    kinds = {
        name: kind_of(tmp_path / name, name) for name in ("empty.png", "junk.tif", "junk.mp4", "film.png", "1.tif")
    }
    assert kinds == {
        "empty.png": "image",
        "junk.tif": "image",
        "junk.mp4": "video",
        "film.png": "video",
        "1.tif": "image",
    }
