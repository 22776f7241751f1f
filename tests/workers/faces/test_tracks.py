"""Faces of moving pictures: steady along a track, faded in, the same in any cut into chunks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from contract.job import Face
from testkit.faces import Paint, Stand, tensor
from workers.faces import landmarks
from workers.faces.centerface import CenterFace
from workers.faces.enhance import FaceRestorer
from workers.faces.track import WINDOW


def moving(astronaut: np.ndarray, frames: int) -> list[torch.Tensor]:
    """A short film of the astronaut's moving head, with noise that disturbs the detector."""
    rng = np.random.default_rng(3)
    film = []
    for n in range(frames):
        shift = np.array([[1, 0, -100.0 - 1.5 * n], [0, 1, 10.0 + 0.5 * n]])
        frame = cv2.warpAffine(astronaut, shift, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        noisy = frame + rng.normal(0, 8, frame.shape)
        film.append(tensor(noisy.clip(0, 255).astype(np.uint8)))
    return film


def test_the_same_frames_in_one_chunk_or_many(detector: CenterFace, astronaut: np.ndarray) -> None:
    """14 frames with a cut have the same bits as one chunk and as chunks of 1 to 5 frames with context."""
    film = moving(astronaut, 10)
    film += [frame.flip(3) for frame in moving(astronaut, 4)]
    faces = FaceRestorer(detector, Stand(Paint(), 64), Face())

    def restored(first: int, count: int) -> list[torch.Tensor]:
        faces.start(first)
        for frame in film[max(0, first - faces.context) : first]:
            faces.observe(frame)
        return [faces.apply(frame, frame) for frame in film[first : first + count]]

    whole = restored(0, 14)
    record = faces.record()
    cut = [frame for first, count in ((0, 3), (3, 1), (4, 5), (9, 3), (12, 2)) for frame in restored(first, count)]
    assert all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))
    assert record["restored"] == 14
    assert [face["frame"] for face in record["faces"]] == list(range(14))
    batched = FaceRestorer(detector, Stand(Paint(), 64), Face())
    parts = [batched.apply(torch.cat(film[n : n + 4]), torch.cat(film[n : n + 4])) for n in (0, 4)]
    assert torch.equal(torch.cat(parts), torch.cat(whole[:8]))


def test_landmarks_are_steadier_along_a_track(detector: CenterFace, astronaut: np.ndarray) -> None:
    """Smoothed points deviate less than half as much from the true motion as single detections, and do not lag."""
    film = moving(astronaut, 16)
    [clean] = detector(astronaut, 16)
    truth = landmarks.refined(detector, tensor(astronaut), clean).points + np.array([-100, 10])
    faces = FaceRestorer(detector, Stand(Paint(), 64), Face())
    smooth, single = [], []
    for n, frame in enumerate(film):
        now = truth + n * np.array([-1.5, 0.5])
        [face] = faces._follow(frame)
        smooth.append(face.points - now)
        [found] = detector(landmarks.to_pixels(frame), 16)
        single.append(found.points - now)
    settled, raw = np.stack(smooth[WINDOW:]), np.stack(single[WINDOW:])
    assert settled.std(axis=0).mean() < raw.std(axis=0).mean() / 2
    assert np.abs(settled.mean(axis=(0, 1))).max() < 0.7


def test_faces_fade_in_but_not_after_a_cut(detector: CenterFace, astronaut: np.ndarray) -> None:
    """A face that appears within a shot gains strength over the window; after a cut it has full strength at once."""
    film = moving(astronaut, 2)
    hidden = film[0].clone()
    hidden[..., :140, 60:190] = 0.62
    faces = FaceRestorer(detector, Stand(Paint(), 64), Face())
    for _ in range(3):
        faces.apply(hidden, hidden)
    faces.apply(film[0], film[0])
    faces.apply(tensor(skimage.data.coffee()[:256, :256]), film[0])
    faces.apply(film[1], film[1])
    weights = [face["strength"] for face in faces.record()["faces"]]
    assert weights[0] == pytest.approx(1 / 4, abs=0.01)
    assert weights[-1] == 1


def test_flicker_is_measured_against_the_source(detector: CenterFace, astronaut: np.ndarray) -> None:
    """A still film flickers as its source does; an alternating restorer is detected."""

    class Alternating(torch.nn.Module):
        turn = 0

        def forward(self, face: torch.Tensor) -> torch.Tensor:
            self.turn += 1
            return face * (0.9 if self.turn % 2 else 1.0)

    frame = tensor(astronaut[:256, 100:356])
    flicker = {}
    for name, module in (("steady", Paint()), ("shaky", Alternating())):
        faces = FaceRestorer(detector, Stand(module, 64), Face())
        for _ in range(4):
            faces.apply(frame, frame)
        flicker[name] = faces.record()["flicker"]
    assert flicker["steady"] == {"pairs": 3, "source": 0, "enhanced": 0, "restored": 0}
    assert flicker["shaky"]["restored"] > 5
