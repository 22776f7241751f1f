"""Patches for a training step: which ones is a pure function of seed, step and slot."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from contract.errors import BadInput
from contract.settings import Settings
from contract.training import Picture, Recipe, Run
from training.data import sources
from training.degrade.apply import Pixels
from training.degrade.batch import degrade_batch, shared
from training.degrade.damage_file import GENERIC, Damage

_HELD_BYTES = 2 << 30
"""Decoded pictures kept in memory by one process; beyond it the longest unused is read again when it is wanted."""


@dataclass(frozen=True)
class Batch:
    """A micro-batch: `low` N x 3 x h x w in whole code values of 255, `clean` N x 3 x H x W, both float32 in [0, 1]."""

    low: torch.Tensor
    clean: torch.Tensor


class Library:
    """Pictures by their entry in the run, read when first wanted and held against their hashes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: OrderedDict[tuple[str, int | None], Pixels] = OrderedDict()

    def clean(self, picture: Picture) -> Pixels:
        """Return the clean picture, H x W x 3 RGB; raise BadInput when it is not the one that the run began with."""
        return self._get(picture.name, picture.sha256, picture.frame)

    def low(self, picture: Picture) -> Pixels:
        """Return the degraded partner of a pair."""
        assert picture.low is not None
        assert picture.low_sha256 is not None
        return self._get(picture.low, picture.low_sha256, None)

    def _get(self, name: str, sha256: str, frame: int | None) -> Pixels:
        key = (name, frame)
        if key not in self._held:
            path = sources.reread(name, sha256, self._settings)
            if frame is None:
                self._hold(key, sources.read(path))
            else:
                self._frames(path, name, frame)
        self._held.move_to_end(key)
        return self._held[key]

    def _frames(self, path: Path, name: str, frame: int) -> None:
        # A film is decoded from its beginning, so all of its frames are kept on the way.
        for taken in sources.frames(path):
            self._hold((name, taken.number), taken.pixels)
        if (name, frame) not in self._held:
            raise BadInput(f"frame {frame} of {name} does not fit into memory beside the others; cut the film.")

    def _hold(self, key: tuple[str, int | None], pixels: Pixels) -> None:
        self._held[key] = pixels
        while sum(p.nbytes for p in self._held.values()) > _HELD_BYTES and len(self._held) > 1:
            self._held.popitem(last=False)


def rng_of(*parts: object) -> np.random.Generator:
    """Return a generator that depends on `parts` alone, however they are combined."""
    digest = hashlib.sha256(msgspec.json.encode(parts)).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


class Feed:
    """Micro-batches for a run. `rewinds` enters every draw, so that a step that failed is not repeated with the same data."""

    def __init__(self, run: Run, library: Library, device: torch.device) -> None:
        self._run, self._library, self._device = run, library, device
        self._pictures = run.role("train")
        self._damage = None if run.damage is None else msgspec.convert(run.damage, Damage)
        # A large picture has more patches than a small one; groups of one film weigh by their frames.
        areas = np.array([float(p.height * p.width) for p in self._pictures])
        self._shares = np.sqrt(areas) / np.sqrt(areas).sum()

    def batch(self, step: int, slot: int, rewinds: int) -> Batch:
        """Make the micro-batch of a step and slot, on the device."""
        recipe = self._run.recipe
        rng = rng_of("patches", recipe.seed, step, slot, rewinds)
        crops = [self._crop(rng, recipe) for _ in range(recipe.batch)]
        clean = _tensor([high for high, _ in crops], self._device)
        generic = [rng.random() < recipe.generic for _ in crops]
        if self._damage is not None:
            damages = [GENERIC if other else self._damage for other in generic]
            return Batch(self._degraded(clean, damages, rng), clean)
        low = _tensor([low for _, low in crops if low is not None], self._device)
        others = [n for n, other in enumerate(generic) if other]
        if others:
            low[others] = self._degraded(clean[others], [GENERIC] * len(others), rng)
        return Batch(low, clean)

    def _degraded(self, clean: torch.Tensor, damages: list[Damage], rng: np.random.Generator) -> torch.Tensor:
        pooled = bool(self._run.recipe.pool)  # then one path of resizes a micro-batch
        draws = [(damages[0] if pooled else damage).draw(int(rng.integers(2**48))) for damage in damages]
        return degrade_batch(clean, shared(draws) if pooled else draws, self._run.scale)

    def _crop(self, rng: np.random.Generator, recipe: Recipe) -> tuple[Pixels, Pixels | None]:
        """Cut a patch at a random place, mirrored and turned at random, and its degraded partner where there are pairs."""
        picture = self._pictures[int(rng.choice(len(self._pictures), p=self._shares))]
        scale, patch = self._run.scale, recipe.patch
        pixels = self._library.clean(picture)
        low = self._library.low(picture) if picture.low else None
        rows, columns = pixels.shape[0] // scale, pixels.shape[1] // scale
        if low is not None:
            rows, columns = min(rows, low.shape[0]), min(columns, low.shape[1])
        top, left = int(rng.integers(rows - patch + 1)), int(rng.integers(columns - patch + 1))
        high = pixels[top * scale : (top + patch) * scale, left * scale : (left + patch) * scale]
        partner = None if low is None else low[top : top + patch, left : left + patch]
        mirror = rng.random() < 0.5
        # The damage in a pair has a direction (scan lines, a telecine's blur), which turning would lose.
        turn = rng.random() < 0.5 and low is None
        flip = rng.random() < 0.5
        return _turned(high, mirror, flip, turn), None if partner is None else _turned(partner, mirror, flip, turn)


def _turned(pixels: Pixels, mirror: bool, flip: bool, turn: bool) -> Pixels:
    if mirror:
        pixels = pixels[:, ::-1]
    if flip:
        pixels = pixels[::-1]
    return pixels.transpose(1, 0, 2) if turn else pixels


def _tensor(patches: list[Pixels], device: torch.device) -> torch.Tensor:
    stacked = torch.from_numpy(np.stack(patches)).to(device)
    return stacked.permute(0, 3, 1, 2).contiguous().float() / 255
