"""Cost of faces, and the measurements behind the identity check's limits; `python -m benchmarks.speed.faces` prints both.

The restorer is GFPGANv1.4's network at full size with random weights: its work does not depend on them.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import skimage
import torch

from contract.settings import Settings
from training.degrade.apply import degrade
from training.degrade.draw import draw
from weights import catalog, fetch
from workers.faces import identity_check, landmarks
from workers.faces.align import crop, enlarged, similarity
from workers.faces.centerface import CenterFace
from workers.faces.restore import GFPGAN, Restorer
from workers.generators.torch_backend import pick_device


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """Convert an H x W x 3 uint8 picture to a 1 x 3 x H x W float tensor in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255


def timed(what: str, call: Callable[[], object], times: int = 5) -> None:
    """Print wall and CPU milliseconds of a call, the mean of `times`, and the peak memory."""
    call()
    wall, work = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    wall, work = (time.perf_counter() - wall) / times, (time.process_time() - work) / times
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:44} {wall * 1e3:9.1f} ms  {work * 1e3:9.1f} ms of processor  peak {peak:6.0f} MB")


def costs(detector: CenterFace, astronaut: np.ndarray) -> None:
    """Print the cost of each step of face restoration."""
    for width, height in ((640, 480), (854, 480), (1920, 1080)):
        resized = cv2.resize(astronaut, (width, height)).astype(np.uint8, copy=False)
        timed(f"detection, {width}x{height}", partial(detector, resized, 16))
    frame = tensor(astronaut)
    [found] = detector(astronaut, 16)
    timed("points read again, a face", lambda: landmarks.refined(detector, frame, found))
    square = crop(frame, similarity(found.points, 512), 512)
    timed("alignment, a face", lambda: crop(frame, similarity(found.points, 512), 512))
    timed("guard, a face", lambda: identity_check.check_identity(detector, square, square))
    parameters = catalog.load(Settings()).find("GFPGANv1.4", ("face",)).parameters
    device = pick_device("auto")
    restorer = Restorer("GFPGANv1.4", GFPGAN("GFPGANv1.4", parameters), 512, device)
    squares = square.to(device)
    timed(f"restoration, a face, {device}", lambda: restorer(squares), 3)


def limits(detector: CenterFace, astronaut: np.ndarray) -> None:
    """Print the identity check's measures for a perfect restorer (the clean original) and for pairs of different people."""
    clean = tensor(astronaut)
    same = []
    for seed in range(24):
        worse = degrade(astronaut, draw(seed), 2)
        found = detector(worse, 16)
        if not found:
            print(f"seed {seed}: no face is found in the degraded picture")
            continue
        affine = similarity(landmarks.refined(detector, tensor(worse), found[0]).points, 512)
        same.append(
            identity_check.check_identity(
                detector, crop(tensor(worse), affine, 512), crop(clean, enlarged(affine, 2, 2), 512)
            )
        )
    print(f"clean originals of {len(same)} degraded faces:")
    print("  departure: median, 90%, most   ", np.percentile([j.departure for j in same], [50, 90, 100]).round(3))
    print("  likeness: median, 10%, least   ", np.percentile([j.likeness for j in same], [50, 10, 0]).round(3))
    far = sum(j.departure > identity_check.MOST_DEPARTURE for j in same)
    print(f"  {far} departures above the limit of {identity_check.MOST_DEPARTURE}")
    others = [_aligned(detector, face) for face in np.load(Path(skimage.__file__).parent / "data/lfw_subset.npy")[:60]]
    people = [crop(clean, affine, 512), *(face for face in others if face is not None)]
    pairs = [identity_check.likeness(a, b) for n, a in enumerate(people) for b in people[n + 1 :]]
    above = sum(likeness >= identity_check.LEAST_LIKENESS for likeness in pairs)
    print(f"{len(pairs)} pairs of different people (Labeled Faces in the Wild, 25 x 25 pixels):")
    print("  likeness: median, 99%, most    ", np.percentile(pairs, [50, 99, 100]).round(3))
    print(f"  {above} at or above the limit of {identity_check.LEAST_LIKENESS}")


def _aligned(detector: CenterFace, face: np.ndarray) -> torch.Tensor | None:
    grey = (np.clip(face, 0, 1) * 255).astype(np.uint8)
    large = cv2.resize(grey, (150, 150), interpolation=cv2.INTER_CUBIC)
    pixels = np.repeat(cv2.copyMakeBorder(large, 60, 60, 60, 60, cv2.BORDER_REPLICATE)[:, :, None], 3, axis=2)
    found = detector(pixels, 16)
    if not found:
        return None
    frame = tensor(pixels)
    return crop(frame, similarity(landmarks.refined(detector, frame, found[0]).points, 512), 512)


def main() -> None:
    """Print costs and limits."""
    entry = catalog.load(Settings()).find("CenterFace", ("detector",))
    detector = CenterFace(fetch.fetch(entry, Settings()).path)
    astronaut = skimage.data.astronaut()
    costs(detector, astronaut)
    limits(detector, astronaut)


if __name__ == "__main__":
    main()
