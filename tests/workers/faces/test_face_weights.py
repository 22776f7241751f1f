"""The worker's cache: the face restorer is fetched from the real store by hash, and stays loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from contract import keys
from contract.errors import RespoolError
from contract.job import Face, Spec, Weights
from contract.settings import Settings
from stores.storage import Storage
from weights import catalog, fetch
from workers.faces.restore import GFPGAN
from workers.runtime.job_cache import JobCache

SMALL = {"out_size": 32, "num_style_feat": 16, "num_mlp": 1, "narrow": 0.0625, "channel_multiplier": 1} | {
    "input_is_latent": True,
    "different_w": True,
    "sft_half": True,
    "fix_decoder": False,
}


@pytest.fixture
def spec(settings: Settings, tmp_path: Path) -> Spec:
    """A job that pins a small random GFPGAN and the real detector, both in the store."""
    storage = Storage(settings)
    torch.manual_seed(1)
    path = tmp_path / "small.safetensors"
    save_file({k: v.contiguous() for k, v in GFPGAN("small", SMALL).network.state_dict().items()}, path)
    face = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = catalog.load(Settings()).find("CenterFace", ("detector",))
    found = fetch.fetch(entry, Settings())
    storage.put_file(keys.weights(face), path)
    storage.put_file(keys.weights(found.sha256, "onnx"), found.path)
    pinned = (
        Weights("face", "GFPGANv1.4", face, "gfpgan", SMALL, "Apache-2.0", "test"),
        Weights("detector", entry.name, found.sha256, "centerface", {}, entry.licence, found.origin, "onnx"),
    )
    return Spec("identity", face=Face(), weights=pinned)


def test_the_restorer_is_loaded_once_from_the_store(settings: Settings, spec: Spec) -> None:
    """Chunks of one job share a loaded restorer; another strength loads another one; a job without faces loads none."""
    cache = JobCache(settings, Storage(settings))
    first = cache.faces(spec)
    assert first is not None
    assert first.restorer.name == "GFPGANv1.4"
    assert cache.faces(spec) is first
    assert cache.faces(msgspec.structs.replace(spec, face=None)) is None
    assert cache.faces(msgspec.structs.replace(spec, face=Face(strength=0))) is None
    assert cache.faces(spec) is first
    half = cache.faces(msgspec.structs.replace(spec, face=Face(strength=0.5)))
    assert half is not first
    assert half is not None
    assert half.options.strength == 0.5


def test_weights_that_the_store_lost_are_an_error(settings: Settings, spec: Spec) -> None:
    """A pinned hash that the store lacks is an error, and no other file replaces it."""
    absent = msgspec.structs.replace(spec.weights[0], sha256="0" * 64)
    with pytest.raises(RespoolError):
        JobCache(settings, Storage(settings)).faces(msgspec.structs.replace(spec, weights=(absent, spec.weights[1])))
