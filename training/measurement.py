"""Damage measured on an archive's own pictures: first what is certain, then what can be fitted, and what could not be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import msgspec
import numpy as np

from contract.errors import BadInput
from training import blur_fit, jpeg_tables, noise_level, quantiser
from training.data import sources
from training.data.sources import Source
from training.degrade.apply import Pixels
from training.degrade.damage_file import Damage
from training.degrade.ranges import Codec, FilmRanges, Ranges, RoundRanges
from training.jpeg_tables import Quality

_CODECS: dict[str, Codec] = {
    "mpeg2video": "mpeg2video",
    "mpeg1video": "mpeg2video",
    "mpeg4": "mpeg4",
    "h264": "libx264",
    "mjpeg": "mjpeg",
}
_MOST_FRAMES = 24
_WIDER = 0.1
"""Share by which the range of what was measured on single pictures is widened: the archive has more than were shown."""


@dataclass
class Measured:
    """Measurements of each source. `pictures` are the sources' own pixels, for spectra and for the sheet."""

    qualities: list[Quality] = field(default_factory=list)
    noises: list[float] = field(default_factory=list)
    coloured: list[bool] = field(default_factory=list)
    codecs: list[Codec] = field(default_factory=list)
    quantisers: list[float] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)
    plain: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, source: Source) -> None:
        """Measure one picture or film; what cannot be read becomes a note."""
        try:
            self._film(source) if source.is_film else self._picture(source)
        except BadInput as error:
            self.notes.append(f"{source.path.name} was left out: {error}")

    def _picture(self, source: Source) -> None:
        pixels = sources.read(source.path)
        quality = jpeg_tables.quality(source.path)
        if quality is None:
            self.plain += 1
        else:
            self.qualities.append(quality)
            if not quality.exact:
                self.notes.append(
                    f"{source.path.name} has JPEG tables of its own; {quality.value} is the nearest quality."
                )
        self._take_noise(noise_level.of_picture(pixels, None if quality is None else quality.table))
        self.pictures.append(pixels)

    def _film(self, source: Source) -> None:
        last: sources.Frame | None = None
        taken = 0
        for frame in sources.frames(source.path):
            if last is not None and last.shot == frame.shot and last.number + 1 == frame.number:
                self._take_noise(noise_level.of_frames(last.pixels, frame.pixels))
                self.pictures.append(frame.pixels)
                taken += 1
            last = frame
            if taken >= _MOST_FRAMES:
                break
        name = sources.codec(source.path)
        if name not in _CODECS:
            self.notes.append(
                f"{source.path.name} is {name or 'without video'}, which no damage file has; its codec is left out."
            )
            return
        self.codecs.append(_CODECS[name])
        found = quantiser.of_film(source.path)
        self.quantisers += found
        if not found:
            self.notes.append(f"{source.path.name} is {name}; its quantiser could not be told.")

    def _take_noise(self, found: noise_level.Noise | None) -> None:
        if found is None:
            return
        # The spread of luma is less than that of each channel where channels differ: 0.67 of it.
        coloured = bool(found.chroma > found.luma)
        self.noises.append(found.luma / 0.669 if coloured else found.luma)
        self.coloured.append(coloured)


def measure(found: Sequence[Source], clean: Sequence[Source], scale: int) -> tuple[Damage, Measured]:
    """Measure `found` and put the ranges together; blur only where there is `clean` material of the same kind.

    Raises BadInput when no source could be read.
    """
    measured = Measured()
    for source in found:
        measured.add(source)
    if not measured.pictures:
        raise BadInput(
            f"none of {len(found)} sources could be measured: {'; '.join(measured.notes[:3]) or 'no frames'}"
        )
    fields: dict[str, Any] = {
        "resize_probability": (0.0, 1.0, 0.0) if scale > 1 else (0.0, 0.0, 1.0),
        "resize": (1 / scale, 1 / scale),
        "resamplings": ("area",),
        "sinc_probability": 0.0,
        "gaussian_probability": 1.0,
    }
    fields |= _jpeg(measured) | _noise(measured) | _blur(measured, clean, scale)
    film = FilmRanges(codecs=tuple(dict.fromkeys(measured.codecs)))
    if measured.quantisers:
        film = msgspec.structs.replace(film, quantiser=quantiser.limits(measured.quantisers))
    measured.notes.append(
        "Dust, scratches, weave, flicker, chroma bleed and comb remains are not measured; add them by hand."
    )
    damage = Damage(order=1, ranges=Ranges(first=RoundRanges(**fields), film=film), notes=tuple(measured.notes))
    return damage, measured


def _jpeg(measured: Measured) -> dict[str, Any]:
    total = measured.plain + len(measured.qualities)
    if not measured.qualities:
        return {"jpeg_probability": 0.0}
    values = [quality.value for quality in measured.qualities]
    return {"jpeg": (min(values), max(values)), "jpeg_probability": round(len(values) / total, 3)}


def _noise(measured: Measured) -> dict[str, Any]:
    if not measured.noises:
        measured.notes.append(
            "Noise could not be told: no flat or static area is large enough, or JPEG has removed it."
        )
        return {"gaussian_noise": (0.0, 0.0)}
    low, high = min(measured.noises), max(measured.noises)
    if high < 2:
        measured.notes.append("Noise is weaker than the pictures' own texture; its range is an upper bound.")
        low = 0.0
    grey = 1 - sum(measured.coloured) / len(measured.coloured)
    if measured.qualities:
        measured.notes.append(
            "Whether noise is coloured could not be told in JPEG files, which halve the resolution of colour."
        )
    return {
        "gaussian_noise": (round(low * (1 - _WIDER), 2), round(high * (1 + _WIDER), 2)),
        "grey_probability": round(grey, 3),
    }


def _blur(measured: Measured, clean: Sequence[Source], scale: int) -> dict[str, Any]:
    none = {"blur_probability": 0.0}
    if not clean:
        measured.notes.append("Blur could not be told without clean material of the same kind; give some with --clean.")
        return none
    small = []
    for source in clean:
        try:
            frames = [f.pixels for f in sources.frames(source.path)] if source.is_film else [sources.read(source.path)]
        except BadInput as error:
            measured.notes.append(f"{source.path.name} was left out: {error}")
            continue
        small += [_smaller(pixels, scale) for pixels in frames]
    level = float(np.median(measured.noises)) if measured.noises else 0.0
    found = blur_fit.fit(blur_fit.spectra(measured.pictures), blur_fit.spectra(small), level, scale)
    if found is None:
        measured.notes.append(
            "Blur could not be told: fewer than two pictures on either side have enough detail above the noise."
        )
        return none
    return {
        "blur_probability": 1.0,
        "shapes": {"aniso": 1.0},
        "kernel_sizes": (21,),
        "blur_sigma": found.wide,
        "blur_sigma_y": found.narrow,
        "angle": found.angle,
    }


def _smaller(pixels: Pixels, scale: int) -> Pixels:
    size = (pixels.shape[1] // scale, pixels.shape[0] // scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def summary(damage: Damage) -> list[str]:
    """Say in words what was measured."""
    first = damage.ranges.first
    lines = []
    if first.jpeg_probability:
        lines.append(f"JPEG {first.jpeg[0]}-{first.jpeg[1]} on {first.jpeg_probability:.0%} of the sources")
    film = damage.ranges.film
    if film.codecs:
        lines.append(f"codec {', '.join(film.codecs)} at quantisers {film.quantiser[0]}-{film.quantiser[1]}")
    lines.append(f"noise of sigma {first.gaussian_noise[0]:g}-{first.gaussian_noise[1]:g} code values")
    if first.blur_probability and first.blur_sigma_y:
        lines.append(
            f"blur of sigma {first.blur_sigma[0]:g}-{first.blur_sigma[1]:g} pixels along "
            f"{first.angle[0]:g}..{first.angle[1]:g} rad, {first.blur_sigma_y[0]:g}-{first.blur_sigma_y[1]:g} across"
        )
    return lines
