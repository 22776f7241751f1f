"""Selection of the sources that train and those that are held out: fixed by hash, duplicates and misfits left out with their reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import BadInput, UsageError
from contract.training import LeftOut, Picture
from stores.file_digest import file_sha256
from training.data import registration, sources
from training.data.sources import Source
from training.degrade.apply import Pixels

HELD_SHARE = 0.2
_SIDE = 16
_NEAR_BITS, _NEAR_LEVELS = 12, 6.0
"""Copies of one picture differ in at most so many of 256 gradient signs, and by so many code values in a small copy."""

Fingerprint = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]


@dataclass
class Selection:
    """Pictures that are used, and those that are not. `smallest` is the shorter side that a picture needs."""

    scale: int
    smallest: int
    pictures: list[Picture] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    _hashes: dict[str, str] = field(default_factory=dict)
    _seen: list[tuple[Fingerprint, str]] = field(default_factory=list)

    def add_clean(self, found: Iterable[Source], report: Callable[[str], None] = lambda _: None) -> None:
        """Look at clean pictures and films, one after the other."""
        for source in found:
            report(source.name)
            try:
                self._film(source) if source.is_film else self._picture(source)
            except (BadInput, OSError) as error:
                self._leave(source.name, str(error))

    def add_pairs(self, pairs: Iterable[tuple[Source, Source]], report: Callable[[str], None] = lambda _: None) -> None:
        """Look at pairs of a degraded and a clean picture; leave out what does not fit together."""
        for low, high in pairs:
            report(high.name)
            try:
                if low.is_film or high.is_film:
                    raise BadInput("pairs are pictures; export the frames of a film first.")
                pixels, degraded = sources.read(high.path), sources.read(low.path)
                shift = registration.register(degraded, pixels, self.scale)
                self._take(high, pixels, None, high.name, low=low, shift=shift)
            except (BadInput, OSError) as error:
                self._leave(f"{low.name} with {high.name}", str(error))

    def divided(self) -> tuple[Picture, ...]:
        """Divide groups into train and held-out ones by their hash alone; raise UsageError when there are fewer than two.

        The seed of a run changes nothing here, so that runs on the same data are compared on the same pictures.
        """
        keys = {p.group: _key(p) for p in self.pictures}
        if len(keys) < 2:
            raise UsageError(
                f"{len(keys)} usable pictures or shots are too few to train on some and check on others; "
                f"bring at least 2{self._reasons()}."
            )
        count = min(len(keys) - 1, max(1, -(-len(keys) * 20 // 100)))
        held = set(sorted(keys, key=lambda group: keys[group])[:count])
        return tuple(msgspec.structs.replace(p, role="held" if p.group in held else "train") for p in self.pictures)

    def _reasons(self) -> str:
        if not self.left_out:
            return ""
        first = self.left_out[0]
        return f" ({len(self.left_out)} were left out, the first is {first.name}: {first.reason.rstrip('.')})"

    def _film(self, source: Source) -> None:
        taken = 0
        for frame in sources.frames(source.path):
            group = f"{source.name}, shot {frame.shot + 1}"
            taken += self._take(source, frame.pixels, frame.number, group)
        if not taken:
            raise BadInput("none of its frames can be used.")

    def _picture(self, source: Source) -> None:
        self._take(source, sources.read(source.path), None, source.name)

    def _take(
        self,
        source: Source,
        pixels: Pixels,
        frame: int | None,
        group: str,
        low: Source | None = None,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> bool:
        height, width = pixels.shape[:2]
        if min(height, width) < self.smallest:
            raise BadInput(f"it is {width}x{height}; at least {self.smallest} pixels a side are needed.")
        sha256 = self._hash(source)
        twin = self._twin(pixels, group)
        if twin is not None:
            if frame is None:
                raise BadInput(f"it shows the same as {twin}.")
            return False
        low_sha256 = self._hash(low) if low else None
        name = low.name if low else None
        self.pictures.append(
            Picture(source.name, sha256, "train", group, height, width, frame, name, low_sha256, shift)
        )
        return True

    def _hash(self, source: Source) -> str:
        if source.name not in self._hashes:
            self._hashes[source.name] = file_sha256(source.path)
        return self._hashes[source.name]

    def _twin(self, pixels: Pixels, group: str) -> str | None:
        own = fingerprint(pixels)
        for seen, name in self._seen:
            if name != group and near(own, seen):
                return name
        self._seen.append((own, group))
        return None

    def _leave(self, name: str, reason: str) -> None:
        self.left_out.append(LeftOut(name, reason))


def _key(picture: Picture) -> str:
    shot = picture.group.removeprefix(picture.name)
    return hashlib.sha256(f"{picture.sha256}{shot}".encode()).hexdigest()


def fingerprint(pixels: Pixels) -> Fingerprint:
    """Reduce a picture to the signs of its gradients and a small grey copy, by which copies of one picture are found."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small[:, 1:] > small[:, :-1], small


def near(a: Fingerprint, b: Fingerprint) -> bool:
    """Tell whether two fingerprints are of one picture."""
    return int((a[0] != b[0]).sum()) <= _NEAR_BITS and float(np.abs(a[1] - b[1]).mean()) <= _NEAR_LEVELS
