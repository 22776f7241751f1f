"""Restoration of faces in frames and still images: detect, track, align, restore, check and blend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from safetensors.torch import load_file

from contract.errors import WeightsError
from contract.film import FACE_CONTEXT
from contract.job import Face, Spec, Weights
from contract.settings import Settings
from stores.file_digest import file_sha256
from workers.faces import identity_check
from workers.faces.align import Affine, blend, crop, enlarged, similarity
from workers.faces.centerface import CenterFace
from workers.faces.detect import Detection, Detector, Pixels
from workers.faces.face_record import FaceRecord
from workers.faces.flicker import Flicker
from workers.faces.landmarks import refined, to_pixels
from workers.faces.restore import Restorer, build
from workers.faces.retinaface import RetinaFace
from workers.faces.track import WINDOW, Followed, Tracks
from workers.generators.lanczos import resize
from workers.generators.torch_backend import pick_device
from workers.shot_detection import Thumbnail, thumbnail

SMALL = 64
"""Side in pixels of the aligned square in which flicker is measured."""


@dataclass(frozen=True)
class Work:
    """One face to restore in frame `n` of the batch: its aligned `square`, and the transform `there` of the enhanced frame."""

    n: int
    face: Followed
    there: Affine
    square: torch.Tensor


class FaceRestorer:
    """The loaded detector and restorer of faces. Not thread-safe.

    For a film: call `start` at each chunk, `observe` for the `context` frames before the owned ones, then `apply` for the
    owned ones in order. For a still image: `start`, `apply`. `record` and `notes` report the work since `start`.
    """

    context = FACE_CONTEXT
    """Frames before the first owned one that affect it."""

    def __init__(self, detector: Detector, restorer: Restorer, options: Face) -> None:
        self.detector, self.restorer, self.options = detector, restorer, options
        self.device = str(restorer.device)
        self.start()

    def start(self, first: int = 0) -> None:
        """Forget all faces. `first` is the number of the first frame to come, for the record."""
        self._number = first
        self._tracks = Tracks()
        self._flicker = Flicker()
        self._face_record = FaceRecord()
        self.restorer.retries.clear()

    def remark(self, note: str) -> None:
        """Add a note for the user to the record."""
        self._face_record.remark(note)

    def observe(self, before: torch.Tensor) -> None:
        """Track faces in source frames (N x 3 x H x W, RGB in [0, 1]) that only affect later ones."""
        for n in range(before.shape[0]):
            self._follow(before[n : n + 1])

    def apply(self, before: torch.Tensor, enhanced: torch.Tensor) -> torch.Tensor:
        """Return `enhanced` (N x 3 x h x w) with the faces of `before` (N x 3 x H x W) restored; both RGB float32 in [0, 1].

        Frames without a face to restore are returned unchanged, bit by bit. Raises EnhanceError when a face cannot be restored.
        """
        found = [self._follow(before[n : n + 1]) for n in range(before.shape[0])]
        scale = enhanced.shape[-1] / before.shape[-1], enhanced.shape[-2] / before.shape[-2]
        work = [self._work(before, n, face, scale) for n, faces in enumerate(found) for face in faces]
        if not work:
            self._flicker.next_frame()
            return enhanced
        restored = self.restorer(torch.cat([each.square for each in work]))
        result = enhanced.clone()
        for n in range(len(found)):
            self._flicker.next_frame()
            for at, each in enumerate(work):
                if each.n == n:
                    number = self._number - len(found) + n
                    self.paste(result[n : n + 1], enhanced[n : n + 1], each, restored[at : at + 1], number)
        return result

    def _work(self, before: torch.Tensor, n: int, face: Followed, scale: tuple[float, float]) -> Work:
        here = similarity(face.points, self.restorer.size)
        square = crop(before[n : n + 1], here, self.restorer.size)
        return Work(n, face, enlarged(here, *scale), square)

    def _follow(self, frame: torch.Tensor) -> list[Followed]:
        pixels = to_pixels(frame)
        return self.select([self.refine(frame, face) for face in self.detect(pixels)], thumbnail(pixels))

    def detect(self, pixels: Pixels, reduced: float = 1.0) -> list[Detection]:
        """Detect faces in a frame that was reduced by the factor `reduced`; omit those far below the wanted size."""
        # Half of the size is enough here, as the mean size over the window decides.
        least = self.options.min_size / reduced
        return [face for face in self.detector(pixels, least) if face.size >= least / 2]

    def refine(self, frame: torch.Tensor, found: Detection) -> Detection:
        """Return `found` with more exact points; see `landmarks.refined`."""
        return refined(self.detector, frame, found)

    def select(self, found: list[Detection], small: Thumbnail) -> list[Followed]:
        """Return the faces to restore in the next frame, in which `found` were detected; `small` is its thumbnail."""
        followed = self._tracks.add(self._number, found, small)
        self._number += 1
        wanted = [face for face in followed if face.size >= self.options.min_size and not self._excluded(face)]
        if self.options.only_largest and wanted:
            wanted = [max(wanted, key=lambda face: face.area)]
        return wanted

    def _excluded(self, face: Followed) -> bool:
        x, y = face.points.mean(axis=0)
        return any(0 <= x - left < width and 0 <= y - top < height for left, top, width, height in self.options.exclude)

    def paste(
        self, frame: torch.Tensor, enhanced: torch.Tensor, work: Work, restored: torch.Tensor, number: int
    ) -> None:
        """Blend a restored face into `frame`, in place; check its identity when it is new and once every WINDOW frames.

        `enhanced` is the frame before any face was blended, `number` its number in the film.
        """
        face, affine, size = work.face, work.there, self.restorer.size
        strength = self.options.strength * face.weight
        blend(frame, restored - crop(frame, affine, size), affine, strength)
        views = (work.square, crop(enhanced, affine, size), crop(frame, affine, size))
        self._flicker.add(face.keys, torch.cat([resize(view, (SMALL, SMALL)) for view in views]))
        new = len(face.keys) == 1
        judged = (
            identity_check.check_identity(self.detector, work.square, restored) if new or number % WINDOW == 0 else None
        )
        self._face_record.add(number, face, strength, judged)

    def record(self) -> dict[str, object]:
        """Return the models, the record of faces since `start`, and their flicker (mean change in code values of 255)."""
        return {
            "detector": self.detector.name,
            "restorer": self.restorer.name,
            "device": self.device,
            "flicker": self._flicker.record(),
            "retries": list(self.restorer.retries),
            **self._face_record.record(),
        }

    def notes(self) -> list[str]:
        """Return the notes for the user: faces that no longer look like their source, and retries with less memory."""
        return [f"faces: {retry}." for retry in self.restorer.retries] + self._face_record.notes()


def load(spec: Spec, paths: Mapping[str, Path], settings: Settings) -> FaceRestorer | None:
    """Load the face restorer of a job; return None for a job without one (no --face-enhance, or strength 0).

    `paths` maps the SHA-256 of each of `spec.weights` to a local file. Raises WeightsError when a file is missing, does not have
    the pinned hash, or does not fit.
    """
    if spec.faces is None:
        return None
    device = pick_device(settings.device)
    if settings.threads:
        cv2.setNumThreads(settings.threads)
    entry = _entry(spec, "face")
    module, size = build(entry.name, entry.architecture, entry.parameters, load_file(_pinned(entry, paths)))
    return FaceRestorer(_detector(spec, paths, device), Restorer(entry.name, module, size, device), spec.faces)


def _detector(spec: Spec, paths: Mapping[str, Path], device: torch.device) -> Detector:
    entry = _entry(spec, "detector")
    path = _pinned(entry, paths)
    if entry.architecture == "centerface":
        return CenterFace(path)
    if entry.architecture == "retinaface":
        return RetinaFace(load_file(path), entry.parameters, device)
    raise WeightsError(
        f"weights {entry.name} are for {entry.architecture!r}, which is not a face detector; use CenterFace."
    )


def _entry(spec: Spec, role: str) -> Weights:
    for entry in spec.weights:
        if entry.role == role:
            return entry
    raise WeightsError(
        f"the job restores faces but pins no weights of a {role}; run `respool models fetch`, then submit again."
    )


def _pinned(entry: Weights, paths: Mapping[str, Path]) -> Path:
    path = paths.get(entry.sha256)
    if path is None:
        raise WeightsError(f"weights {entry.name} ({entry.sha256[:12]}) were not fetched; submit the job again.")
    found = file_sha256(path)
    if found != entry.sha256:
        raise WeightsError(
            f"weights {entry.name} in {path} have SHA-256 {found}, but the job pins {entry.sha256}; fetch them again."
        )
    return path
