"""Faces of films with all real steps: planning, cutting, decoding with context, restoring, encoding, assembly."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
import skimage.data
import torch

from contract.film import FACE_CONTEXT
from contract.job import Face, Item, Spec
from contract.packets import RunReader
from contract.settings import Settings
from orchestrator.assemble.film import assemble_film
from orchestrator.ingest.chunking import target_frames
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.packet_runs import cut
from weights import catalog, fetch
from workers.faces.centerface import CenterFace
from workers.faces.enhance import FaceRestorer
from workers.faces.restore import Restorer
from workers.film.chunk import FilmResult, film_stages
from workers.generators.registry import load
from workers.stages import finished

FRAMES = 14
SPEC = Spec("identity", codec="ffv1", face=Face())


class Darker(torch.nn.Module):
    """A change of the whole face that does not disturb the detector."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return faces * 0.9


@pytest.fixture(scope="module")
def faces() -> FaceRestorer:
    path = fetch.fetch(catalog.load(Settings()).find("CenterFace", ("detector",)), Settings()).path
    return FaceRestorer(CenterFace(path), Restorer("stand-in", Darker(), 64, torch.device("cpu")), Face())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 frames of H.264 with B frames and short GOPs, in which the astronaut's head moves."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    options = {"crf": "20", "g": "5", "bf": "2", "sc_threshold": "0"}
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = 256, 240, "yuv420p"
        for n in range(FRAMES):
            shift = np.array([[1, 0, -100.0 - n], [0, 1, 10.0]])
            pixels = cv2.warpAffine(skimage.data.astronaut(), shift, (256, 240), borderMode=cv2.BORDER_REFLECT)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def nothing(_: int = 0) -> None:
    pass


def restored(film: Path, spec: Spec, faces: FaceRestorer | None, folder: Path) -> tuple[np.ndarray, list[FilmResult]]:
    """Return every decoded frame of the result (luma), and the result of each chunk."""
    data = film.read_bytes()
    item = Item(0, "video", "film.mp4", "film.mkv", hashlib.sha256(data).hexdigest(), len(data))
    folder.mkdir()
    index = plan_film(io.BytesIO(data), item, spec, 1)
    enhancer = load(spec, {}, Settings(device="cpu"))
    chunks, results = [], []
    for n, run in enumerate(cut(io.BytesIO(data), index)):
        (folder / f"run{n}").write_bytes(run)
        out = folder / f"out{n}"
        results.append(finished(film_stages(folder / f"run{n}", spec, enhancer, out, nothing, faces)))
        chunks.append(io.BytesIO(out.read_bytes()))
    assemble_film(index, spec, io.BytesIO(data), chunks, folder / "film.mkv")
    with av.open(str(folder / "film.mkv")) as result:
        return np.stack([frame.to_ndarray()[:240] for frame in result.decode(video=0)]), results


def test_one_chunk_and_many_give_the_same_frames(film: Path, faces: FaceRestorer, tmp_path: Path) -> None:
    """A film in chunks of 4 frames, with borders inside groups of pictures, has the same bits in faces as the whole film."""
    whole, [result] = restored(film, msgspec.structs.replace(SPEC, chunk_frames=100), faces, tmp_path / "whole")
    parts, results = restored(film, msgspec.structs.replace(SPEC, chunk_frames=4), faces, tmp_path / "parts")
    plain, _ = restored(film, msgspec.structs.replace(SPEC, face=None), None, tmp_path / "plain")
    assert len(whole) == FRAMES
    assert len(results) > 2
    assert np.array_equal(whole, parts)
    change = plain[10].astype(int) - whole[10]
    assert change[115:140, 90:120].mean() > 8
    assert np.abs(change[:, 230:]).max() <= 1  # the way through RGB and back
    record = result.record["faces"]
    assert record["restored"] == FRAMES
    assert sum(r.record["faces"]["restored"] for r in results) == FRAMES
    assert {"pairs", "source", "restored"} <= record["flicker"].keys()


def test_strength_zero_is_bit_identical_to_off(film: Path, tmp_path: Path) -> None:
    """With strength 0 there is no face pass: runs have no context, and every frame equals that of a film without faces."""
    off = msgspec.structs.replace(SPEC, face=Face(strength=0.0))
    assert off.faces is None
    zero, _ = restored(film, off, None, tmp_path / "zero")
    plain, _ = restored(film, msgspec.structs.replace(SPEC, face=None), None, tmp_path / "plain")
    assert np.array_equal(zero, plain)


def test_only_faces_add_context_frames(film: Path) -> None:
    """A run has the context frames for tracking faces, and none without faces."""
    data = film.read_bytes()
    item = Item(0, "video", "film.mp4", "film.mkv", hashlib.sha256(data).hexdigest(), len(data))
    for spec, context in ((SPEC, FACE_CONTEXT), (msgspec.structs.replace(SPEC, face=None), 0)):
        index = plan_film(io.BytesIO(data), item, msgspec.structs.replace(spec, chunk_frames=6), 1)
        for run in cut(io.BytesIO(data), index):
            assert RunReader(io.BytesIO(run)).header.context == context


def test_chunks_are_smaller_where_faces_are_restored() -> None:
    """Planning includes the time for faces: at 320x240 a chunk with faces has fewer frames than one without."""
    assert target_frames(320, 240, SPEC) < target_frames(320, 240, msgspec.structs.replace(SPEC, face=None))
