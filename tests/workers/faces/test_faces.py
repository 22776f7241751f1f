"""Faces: real ones are detected, aligned, restored by a small random network of the real architecture, and blended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from contract.errors import WeightsError
from contract.job import Face, Spec, Weights
from contract.settings import Settings
from testkit.faces import Paint, Stand, psnr, tensor
from training.degrade.apply import degrade
from training.degrade.draw import draw
from weights import catalog, fetch
from workers.faces import identity_check, landmarks
from workers.faces.align import TEMPLATE, apply, crop, enlarged, inverse, similarity
from workers.faces.centerface import CenterFace, detection_scale
from workers.faces.enhance import FaceRestorer, load
from workers.faces.restore import GFPGAN, Restorer, build
from workers.generators import compat
from workers.generators.lanczos import resize
from workers.generators.registry import load as load_generator

SMALL_GFPGAN = {
    "out_size": 64,
    "num_style_feat": 32,
    "channel_multiplier": 1,
    "fix_decoder": False,
    "num_mlp": 2,
    "input_is_latent": True,
    "different_w": True,
    "narrow": 0.125,
    "sft_half": True,
}


"""GFPGANv1.4's structure with fewer channels and a smaller square."""


@pytest.fixture(scope="module")
def small_gfpgan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Weights, Path]:
    """A random GFPGANv1Clean of the catalog's structure, stored as a job's weights are."""
    torch.manual_seed(7)
    module = GFPGAN("small", SMALL_GFPGAN)
    path = tmp_path_factory.mktemp("gfpgan") / "small.safetensors"
    save_file({name: values.contiguous() for name, values in module.network.state_dict().items()}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Weights("face", "GFPGANv1.4", sha256, "gfpgan", SMALL_GFPGAN, "Apache-2.0", "test"), path


@pytest.fixture
def spec_and_paths(
    small_gfpgan: tuple[Weights, Path], centerface_weights: tuple[Weights, Path]
) -> tuple[Spec, Mapping[str, Path]]:
    pinned = (small_gfpgan, centerface_weights)
    spec = Spec("identity", face=Face(), weights=tuple(weights for weights, _ in pinned))
    return spec, {weights.sha256: path for weights, path in pinned}


def test_a_real_face_is_found_and_aligned(detector: CenterFace, astronaut: np.ndarray) -> None:
    """The astronaut's one face is detected; its aligned eyes and mouth are within 5 px of the template of 512."""
    [found] = detector(astronaut, 16)
    assert found.score > 0.8
    better = landmarks.refined(detector, tensor(astronaut), found)
    aligned = apply(similarity(better.points, 512), better.points)
    distance = np.linalg.norm(aligned - TEMPLATE, axis=1)
    assert distance[[0, 1, 3, 4]].max() < 5


def test_alignment_is_facexlibs(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Template and square agree with those of FaceRestoreHelper, built without its detector and parser."""
    module = compat.load("facexlib.utils.face_restoration_helper")
    monkeypatch.setattr(module, "init_detection_model", lambda *_, **__: None)
    monkeypatch.setattr(module, "init_parsing_model", lambda *_, **__: None)
    helper = module.FaceRestoreHelper(1, device=torch.device("cpu"))
    assert np.array_equal(helper.face_template, TEMPLATE)
    exact = apply(np.array([[0.3, -0.05, 120.0], [0.05, 0.3, 40.0]]), TEMPLATE)
    helper.read_image(np.ascontiguousarray(astronaut[:, :, ::-1]))
    helper.all_landmarks_5 = [exact]
    helper.align_warp_face()
    ours = similarity(exact, 512)
    assert np.allclose(helper.affine_matrices[0], ours, atol=1e-3)
    theirs = tensor(helper.cropped_faces[0][:, :, ::-1].astype(np.uint8))
    assert psnr(crop(tensor(astronaut), ours, 512), theirs) > 35  # theirs is bilinear, ours bicubic


def test_coordinates_of_enlarged_frames_agree() -> None:
    """A pixel of an enlarged frame maps to the same point of the square as the source's, by pixel centres."""
    affine = np.array([[1.2, 0.3, -7.0], [-0.3, 1.2, 11.0]])
    somewhere = np.array([[3.0, 4.0], [100.5, 20.25]])
    assert np.allclose(apply(inverse(affine), apply(affine, somewhere)), somewhere)
    large = (somewhere + 0.5) * (4, 3.5) - 0.5
    assert np.allclose(apply(enlarged(affine, 4, 3.5), large), apply(affine, somewhere))


def test_an_identity_restorer_changes_nothing(detector: CenterFace, astronaut: np.ndarray) -> None:
    """A restorer that changes nothing keeps at least 50 dB, and equal bits outside the square."""
    frame = tensor(astronaut)
    faces = FaceRestorer(detector, Stand(torch.nn.Identity()), Face())
    result = faces.apply(frame, frame)
    assert psnr(result, frame) >= 50
    assert torch.equal(result[..., 300:, :], frame[..., 300:, :])
    assert faces.record()["restored"] == 1


def test_a_change_is_blended_at_the_face_by_its_strength(detector: CenterFace, astronaut: np.ndarray) -> None:
    """A darker face is darker in the middle by the given strength, and fades out at the square's edge."""
    frame = tensor(astronaut)
    large = resize(frame, (1024, 1024))
    for strength in (1.0, 0.5):
        faces = FaceRestorer(detector, Stand(Paint()), Face(strength=strength))
        result = faces.apply(frame, large)
        ratio = (result / large.clamp_min(1e-3))[0, :, 220:270, 410:480].mean()
        assert float(ratio) == pytest.approx(1 - 0.1 * strength, abs=0.02)
        assert torch.equal(result[..., 700:, :], large[..., 700:, :])
        [face] = faces.record()["faces"]
        assert face["strength"] == strength
        assert face["box"][0] < 204 < 247 < face["box"][2]
        assert not face["departed"]
        assert faces.notes() == []


def test_sixteen_bits_stay_sixteen_bits(detector: CenterFace, astronaut: np.ndarray) -> None:
    """The blended face has values between 8-bit codes: no step rounds to bytes."""
    frame = tensor(astronaut) * 0.997 + 0.0013
    result = FaceRestorer(detector, Stand(Paint()), Face()).apply(frame, frame)
    inner = result[0, :, 110:135, 205:240] * 255
    assert float((inner - inner.round()).abs().mean()) > 0.1


def test_the_real_architecture_runs_from_its_stored_file(
    spec_and_paths: tuple[Spec, Mapping[str, Path]], astronaut: np.ndarray
) -> None:
    """A small GFPGANv1Clean is loaded by hash and runs; equal frames give equal results; its random output is noted."""
    spec, paths = spec_and_paths
    faces = load(spec, paths, Settings(device="cpu"))
    assert faces is not None
    frame = tensor(astronaut)
    first = faces.apply(frame, frame)
    faces.start()
    assert torch.equal(first, faces.apply(frame, frame))
    assert not torch.equal(first, frame)
    [face] = faces.record()["faces"]
    assert face["departed"]
    assert "depart from their source" in faces.notes()[0]


def test_restoreformer_runs_in_gfpgans_class(astronaut: np.ndarray, detector: CenterFace) -> None:
    """A small RestoreFormer, saved and loaded strictly, restores 64 x 64 faces in [0, 1] as gfpgan's own class does."""
    parameters = {
        "n_embed": 16,
        "embed_dim": 32,
        "ch": 32,
        "ch_mult": [1, 1, 1, 1, 1, 1],
        "attn_resolutions": [2],
        "z_channels": 32,
        "resolution": 64,
    }
    torch.manual_seed(3)
    upstream = compat.load("gfpgan.archs.restoreformer_arch").RestoreFormer(**parameters).eval()
    module, size = build("RestoreFormer", "restoreformer", parameters, upstream.state_dict())
    restorer = Restorer("RestoreFormer", module, size, torch.device("cpu"))
    frame = tensor(astronaut)
    [found] = detector(astronaut, 16)
    square = crop(frame, similarity(found.points, size), size)
    with torch.no_grad():
        expected = ((upstream(square * 2 - 1)[0] + 1) / 2).clamp(0, 1)
    assert size == 64
    assert torch.equal(restorer(square), expected)
    faces = FaceRestorer(detector, restorer, Face(model="RestoreFormer"))
    assert not torch.equal(faces.apply(frame, frame), frame)
    assert faces.record()["restorer"] == "RestoreFormer"


def test_strength_zero_is_off(spec_and_paths: tuple[Spec, Mapping[str, Path]]) -> None:
    """With strength 0 or without --face-enhance nothing is loaded, so no bit can change."""
    spec, paths = spec_and_paths
    off = msgspec.structs.replace(spec, face=Face(strength=0))
    assert load(off, paths, Settings(device="cpu")) is None
    assert load(msgspec.structs.replace(spec, face=None), paths, Settings(device="cpu")) is None


def test_wrong_weights_are_refused(spec_and_paths: tuple[Spec, Mapping[str, Path]], tmp_path: Path) -> None:
    """Missing, wrong and unsuitable files are errors that name the file."""
    spec, paths = spec_and_paths
    settings = Settings(device="cpu")
    with pytest.raises(WeightsError, match="were not fetched"):
        load(spec, {}, settings)
    with pytest.raises(WeightsError, match="pins no weights of a detector"):
        load(msgspec.structs.replace(spec, weights=spec.weights[:1]), paths, settings)
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(WeightsError, match="have SHA-256"):
        load(spec, {**paths, spec.weights[0].sha256: other}, settings)
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    wrong = msgspec.structs.replace(spec.weights[0], sha256=sha256)
    with pytest.raises(WeightsError, match="do not fit gfpgan"):
        load(msgspec.structs.replace(spec, weights=(wrong, spec.weights[1])), {**paths, sha256: other}, settings)


def test_faces_can_be_excluded(detector: CenterFace, astronaut: np.ndarray) -> None:
    """Small faces, excluded places and, on demand, all but the largest face stay bit-equal."""
    two = np.zeros((256, 460, 3), np.uint8)
    two[:, :300] = astronaut[:256, 100:400]
    two[64:192, 305:455] = cv2.resize(astronaut[:256, 100:400], (150, 128), interpolation=cv2.INTER_AREA)
    frame = tensor(two)

    def restored(options: Face) -> list[dict[str, object]]:
        faces = FaceRestorer(detector, Stand(Paint()), options)
        faces.apply(frame, frame)
        return faces.record()["faces"]

    assert len(restored(Face())) == 2
    [largest] = restored(Face(only_largest=True))
    assert largest["box"][0] < 200
    [big] = restored(Face(min_size=60))
    assert big["box"][0] < 200
    [right] = restored(Face(exclude=((10, 0, 290, 256),)))
    assert right["box"][0] > 300


def test_the_identity_check_accepts_only_the_original(detector: CenterFace, astronaut: np.ndarray) -> None:
    """The clean original of a degraded face passes; a turned face and another distribution of light do not."""
    frame = tensor(astronaut)
    for seed in (1, 5, 9):
        worse = degrade(astronaut, draw(seed), 2)
        found = landmarks.refined(detector, tensor(worse), detector(worse, 16)[0])
        affine = similarity(found.points, 512)
        before = crop(tensor(worse), affine, 512)
        after = crop(frame, enlarged(affine, 2, 2), 512)
        assert not identity_check.check_identity(detector, before, after).departed
    turned = cv2.warpAffine(after[0].permute(1, 2, 0).numpy(), cv2.getRotationMatrix2D((256, 300), 25, 1), (512, 512))
    assert identity_check.check_identity(detector, before, torch.from_numpy(turned).permute(2, 0, 1)[None]).departed
    assert identity_check.check_identity(detector, before, 1 - after).departed


def test_detection_reduces_large_frames() -> None:
    """Large frames are reduced as far as the smallest wanted face allows, small ones keep their size."""
    assert detection_scale(480, 640, 16) == 1
    assert detection_scale(1080, 1920, 16) == 10 / 16
    assert detection_scale(2160, 3840, 64) == 1024 / 3840
    assert detection_scale(160, 160, 64) == 1


def test_hostile_pictures_have_no_faces(detector: CenterFace) -> None:
    """One pixel, a thin strip, noise and flat colour give no face and no error."""
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 3000), (3000, 2), (64, 64)):
        noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        assert detector(noise, 16) == []
        assert detector(np.zeros_like(noise), 16) == []


def test_a_generator_as_restorer_makes_a_noisy_face_better(detector: CenterFace, astronaut: np.ndarray) -> None:
    """Real-ESRGAN as a face restorer improves a noisy face by at least 0.5 dB against the clean one."""
    settings = Settings(device="cpu")
    entry = catalog.load(settings).find("realesr-animevideov3", ("generator",))
    found = fetch.fetch(entry, settings)
    pinned = Weights(
        "generator", entry.name, found.sha256, entry.architecture, entry.parameters, entry.licence, found.origin
    )
    enhancer = load_generator(Spec(entry.name, weights=(pinned,)), {found.sha256: found.path}, settings)

    class Generator(torch.nn.Module):
        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            return enhancer.frames(resize(faces, (128, 128)).clamp(0, 1), (512, 512))

    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    noisy = small + np.random.default_rng(1).normal(0, 12, small.shape)
    frame = tensor(noisy.clip(0, 255).astype(np.uint8))
    large = resize(frame, (512, 512)).clamp(0, 1)
    faces = FaceRestorer(detector, Stand(Generator()), Face())
    result = faces.apply(frame, large)
    face = (..., slice(60, 180), slice(175, 275))
    clean = tensor(astronaut)
    assert psnr(result[face], clean[face]) > psnr(large[face], clean[face]) + 0.5
    assert faces.notes() == []


@pytest.mark.skipif(not os.environ.get("RESPOOL_TEST_GFPGAN"), reason="RESPOOL_TEST_GFPGAN names no GFPGANv1.4.pth")
def test_the_real_gfpgan_restores_the_face(
    centerface_weights: tuple[Weights, Path], astronaut: np.ndarray, tmp_path: Path
) -> None:
    """With the published file a degraded face becomes sharper and passes the identity check."""
    settings = Settings(device="cpu", cache=tmp_path)
    entry = catalog.load(settings).find("GFPGANv1.4", ("face",))
    found = fetch.fetch(entry, settings, location=os.environ["RESPOOL_TEST_GFPGAN"])
    pinned = Weights(
        "face", entry.name, found.sha256, entry.architecture, entry.parameters, entry.licence, found.origin
    )
    spec = Spec("identity", face=Face(), weights=(pinned, centerface_weights[0]))
    faces = load(spec, {found.sha256: found.path, centerface_weights[0].sha256: centerface_weights[1]}, settings)
    assert faces is not None
    frame = tensor(degrade(astronaut, draw(9), 2))
    large = resize(frame, (1024, 1024)).clamp(0, 1)
    result = faces.apply(frame, large)
    [face] = faces.record()["faces"]
    assert not face["departed"]

    def sharpness(rgb: torch.Tensor) -> float:
        grey = rgb[0, :, 160:320, 380:520].mean(dim=0).numpy()
        return float(cv2.Laplacian(grey, cv2.CV_32F).var())

    assert sharpness(result) > 1.5 * sharpness(large)
