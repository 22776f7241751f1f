"""Faces of still images: detected in a small copy, restored in the raw result, with everything else unchanged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
import skimage.data
import torch

from contract.errors import Cancelled
from contract.job import Face, Spec
from contract.settings import Settings
from media.images.output_plan import Target
from weights import catalog, fetch
from workers.faces.centerface import CenterFace
from workers.faces.enhance import FaceRestorer
from workers.faces.restore import Restorer
from workers.generators.registry import load
from workers.images.faces import is_drawing, restore_faces
from workers.images.icc_curves import interpret
from workers.images.image import enhance_image


class Darker(torch.nn.Module):
    """A change of the whole face that does not disturb the detector."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return faces * 0.9


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace(fetch.fetch(catalog.load(Settings()).find("CenterFace", ("detector",)), Settings()).path)


def restorer(detector: CenterFace, options: Face | None = None) -> FaceRestorer:
    return FaceRestorer(detector, Restorer("stand-in", Darker(), 512, torch.device("cpu")), options or Face())


def nothing() -> None:
    pass


def vips(pixels: np.ndarray) -> pyvips.Image:
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels))


def target(pixels: np.ndarray, alpha: bool = False) -> Target:
    mode = "grey" if pixels.shape[2] - alpha == 1 else "rgb"
    return Target("png", pixels.shape[1], pixels.shape[0], mode, alpha, pixels.dtype.itemsize * 8, True)


def run(faces: FaceRestorer, source: np.ndarray, enhanced: np.ndarray, folder: Path, alpha: bool = False) -> np.ndarray:
    """Restore the faces of `enhanced`, both H x W x C; return the result."""
    raw = folder / "raw"
    raw.write_bytes(enhanced.tobytes())
    colours = source.shape[2] - alpha
    restore_faces(faces, vips(source), colours, raw, target(enhanced, alpha), None, nothing)
    return np.frombuffer(raw.read_bytes(), enhanced.dtype).reshape(enhanced.shape)


def face_of(change: np.ndarray) -> tuple[int, int]:
    """Return (x, y) of the centre of the changed pixels."""
    rows, columns = np.nonzero(change)
    return int(columns.mean()), int(rows.mean())


def test_the_face_of_a_photograph_is_restored_in_place(detector: CenterFace, tmp_path: Path) -> None:
    """An enlarged photograph is darker at its face and bit-equal elsewhere; the record lists the face in source pixels."""
    source = skimage.data.astronaut()
    enhanced = cv2.resize(source, (1024, 1280), interpolation=cv2.INTER_LANCZOS4)
    faces = restorer(detector)
    result = run(faces, source, enhanced, tmp_path)
    change = (result != enhanced).any(axis=2)
    x, y = face_of(change)
    assert abs(x - 2 * 224) < 40
    assert abs(y - 2.5 * 118) < 50
    assert np.array_equal(result[800:], enhanced[800:])
    inside = result[280:310, 430:470].astype(float) / np.maximum(enhanced[280:310, 430:470], 1)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    [face] = faces.record()["faces"]
    assert face["box"][0] < 203 < 247 < face["box"][2]
    assert face["departed"] is False


def test_sixteen_bit_grey_with_alpha_keeps_its_kind(detector: CenterFace, tmp_path: Path) -> None:
    """A 16-bit grey image with alpha is restored in 16 bits; its alpha and its other samples are unchanged."""
    grey = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257 - 3
    source = np.dstack([grey, np.full_like(grey, 40000)])
    result = run(restorer(detector), source, source, tmp_path, alpha=True)
    assert np.array_equal(result[..., 1], source[..., 1])
    middle = result[110:125, 215:235, 0].astype(float) / source[110:125, 215:235, 0]
    assert middle.mean() == pytest.approx(0.9, abs=0.01)
    assert len(np.unique(result[100:140, 205:240, 0] % 257)) > 50
    assert np.array_equal(result[300:], source[300:])


def test_a_face_in_a_huge_scan_is_detected_in_a_small_copy(detector: CenterFace, tmp_path: Path) -> None:
    """For 6000 x 3000 pixels detection uses a small copy; the face is restored at its place at full size."""
    source = np.full((3000, 6000, 3), 150, np.uint8)
    source[1500:2012, 4000:4512] = skimage.data.astronaut()
    faces = restorer(detector, Face(min_size=40))
    result = run(faces, source, source, tmp_path)
    x, y = face_of((result != source).any(axis=2))
    assert abs(x - 4224) < 20
    assert abs(y - 1618) < 25


def test_pixels_are_restored_by_their_profile(detector: CenterFace, tmp_path: Path) -> None:
    """With a profile the restorer gets sRGB: a face stored with another gamma is changed as in sRGB."""
    profile = pyvips.Operation.call("profile_load", "p3")
    found, _ = interpret(profile, 3)
    assert found is not None
    plain = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None].float() / 255
    stored = (found.from_srgb(plain)[0].permute(1, 2, 0).clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
    raw = tmp_path / "raw"
    raw.write_bytes(stored.tobytes())
    restore_faces(restorer(detector), vips(stored), 3, raw, target(stored), found, nothing)
    result = np.frombuffer(raw.read_bytes(), np.uint16).reshape(stored.shape)
    seen = found.to_srgb(torch.from_numpy(result.astype(np.float32) / 65535).permute(2, 0, 1)[None])
    ratio = seen[0, :, 110:125, 215:235] / plain[0, :, 110:125, 215:235].clamp_min(0.01)
    assert float(ratio.mean()) == pytest.approx(0.9, abs=0.01)


def test_no_face_leaves_every_byte(detector: CenterFace, tmp_path: Path) -> None:
    """A photograph without people stays unchanged, and so does one whose faces are excluded."""
    coffee = skimage.data.coffee()
    assert np.array_equal(run(restorer(detector), coffee, coffee, tmp_path), coffee)
    astronaut = skimage.data.astronaut()
    excluded = restorer(detector, Face(exclude=((0, 0, 512, 300),)))
    assert np.array_equal(run(excluded, astronaut, astronaut, tmp_path), astronaut)


def test_the_checkpoint_can_stop_between_faces(detector: CenterFace, tmp_path: Path) -> None:
    """The checkpoint is called before each face and its error is passed on."""
    source = skimage.data.astronaut()
    raw = tmp_path / "raw"
    raw.write_bytes(source.tobytes())

    def stop() -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        restore_faces(restorer(detector), vips(source), 3, raw, target(source), None, stop)
    assert raw.read_bytes() == source.tobytes()


def test_an_image_file_is_restored_from_end_to_end(detector: CenterFace, tmp_path: Path) -> None:
    """A JPEG with a face, restored without a generator, is darker at the face, and its record lists it."""
    source, out = tmp_path / "astronaut.jpg", tmp_path / "out.png"
    vips(skimage.data.astronaut()).jpegsave(str(source), Q=95)
    spec = Spec("identity", face=Face(), image_format="png")
    enhancer = load(spec, {}, Settings(device="cpu"))
    made = enhance_image(source, "out.png", spec, enhancer, out, nothing, faces=restorer(detector))
    plain = enhance_image(source, "out.png", spec, enhancer, tmp_path / "plain.png", nothing)
    result, before = (
        pyvips.Image.new_from_file(str(path)).numpy().astype(float) for path in (out, tmp_path / "plain.png")
    )
    assert (result[110:125, 215:235] / before[110:125, 215:235]).mean() == pytest.approx(0.9, abs=0.01)
    assert np.array_equal(result[320:], before[320:])
    [record] = made.record["faces"]
    assert record["restored"] == 1
    assert "faces" not in plain.record


def restored_notes(detector: CenterFace, picture: np.ndarray, tmp_path: Path, options: Face | None = None) -> list[str]:
    """Restore the faces of one picture, enlarged twice by repetition; return the notes."""
    enhanced = picture.repeat(2, 0).repeat(2, 1)
    raw = tmp_path / "raw"
    raw.write_bytes(np.ascontiguousarray(enhanced).tobytes())
    faces = restorer(detector, options)
    restore_faces(faces, vips(picture), 3, raw, target(enhanced), None, nothing)
    return faces.notes()


@pytest.mark.slow
def test_notes_name_faces_that_were_changed_and_those_left(detector: CenterFace, tmp_path: Path) -> None:
    """A restored face is named with its place; one under the smallest size, a negative and a line drawing are left and said."""
    photograph = np.ascontiguousarray(skimage.data.astronaut())
    notes = restored_notes(detector, photograph, tmp_path)
    assert any(note.startswith("1 face restored: ") for note in notes)
    notes = restored_notes(detector, photograph, tmp_path, Face(min_size=120))
    assert not any("restored" in note for note in notes)
    negative = restored_notes(detector, np.ascontiguousarray(255 - photograph), tmp_path)
    assert not any(" restored:" in note for note in negative)
    grey = photograph.mean(axis=2)
    drawing = np.where(grey > 110, 255, 0).astype(np.uint8)[..., None].repeat(3, 2)
    lines = restored_notes(detector, drawing, tmp_path)
    assert not any(" restored:" in note for note in lines)


def variants() -> dict[str, np.ndarray]:
    """Return a photograph as scanners and cameras give it: mirrored, dark, light, brown, faded, small, blurred, in grey, tilted, grainy."""
    plain = np.ascontiguousarray(skimage.data.astronaut()[:400])
    unit = plain / 255
    grey = unit.mean(axis=2, keepdims=True).repeat(3, 2)
    tilt = cv2.getRotationMatrix2D((224, 118), 12, 1.0)
    noise = np.random.default_rng(1).normal(0, 14, plain.shape)
    return {
        "mirrored": plain[:, ::-1],
        "dark": unit**2 * 255,
        "light": unit**0.5 * 255,
        "brown": grey * (1, 0.85, 0.6) * 255,
        "faded": 90 + unit * 110,
        "small": cv2.resize(plain, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
        "blurred": cv2.GaussianBlur(plain, (0, 0), 2),
        "grey": grey * 255,
        "tilted": cv2.warpAffine(plain, tilt, (512, 400), borderMode=cv2.BORDER_REFLECT),
        "grainy": plain + noise,
    }


@pytest.mark.parametrize("name", variants())
@pytest.mark.slow
def test_positives_are_restored_and_negatives_are_not(name: str, detector: CenterFace, tmp_path: Path) -> None:
    """The face is restored in every positive; in its negative no face is, whether one is found there or not."""
    positive = np.ascontiguousarray(variants()[name].clip(0, 255).astype(np.uint8))
    assert any(" restored: " in note for note in restored_notes(detector, positive, tmp_path))
    negative = np.ascontiguousarray(255 - positive)
    assert not any(" restored: " in note for note in restored_notes(detector, negative, tmp_path))


@pytest.mark.parametrize("name", variants())
def test_drawings_of_photographs_are_left(name: str, detector: CenterFace, tmp_path: Path) -> None:
    """Black lines on white, and their reverse, are never restored; the photographs that they are made of are no drawings."""
    picture = np.ascontiguousarray(variants()[name].clip(0, 255).astype(np.uint8))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    lines = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, 15, 6)
    for drawn in (lines, 255 - lines, np.where(grey > np.median(grey), 255, 0).astype(np.uint8)):
        notes = restored_notes(detector, drawn[..., None].repeat(3, 2), tmp_path)
        assert not any(" restored: " in note for note in notes)


def test_a_drawing_has_no_tones_between() -> None:
    """Black on white is a drawing, a photograph is none, and neither is a flat area."""
    photograph = np.ascontiguousarray(skimage.data.astronaut())
    box = (180.0, 60.0, 270.0, 170.0)
    assert not is_drawing(photograph, box, (1.0, 1.0))
    assert is_drawing(
        np.where(photograph > 110, 255, 0).astype(np.uint8).max(axis=2, keepdims=True).repeat(3, 2), box, (1.0, 1.0)
    )
    assert not is_drawing(np.full_like(photograph, 90), box, (1.0, 1.0))
