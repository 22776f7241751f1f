"""HEIC: HEVC pictures in HEIF files, through pi-heif (libheif with libde265), which is optional."""

from __future__ import annotations

from typing import BinaryIO, Literal

import numpy as np

from contract.errors import Unsupported
from contract.severity import Loss
from media.images.colour_signal import heif_properties, nclx_signal
from media.images.foreign.picture import Foreign
from media.images.metadata import Metadata


def read(stream: BinaryIO, name: str, pixels: bool) -> Foreign:
    """Read the primary picture of a HEIC file, turned as its container says. Raises Unsupported where the reader is missing."""
    try:
        import pi_heif
    except ImportError as error:
        raise Unsupported(
            f"{name} is a HEIC file; install respool[formats] to read it, or convert it to TIFF first."
        ) from error
    signal = nclx_signal(heif_properties(stream))
    stream.seek(0)
    found = pi_heif.open_heif(stream.read(), convert_hdr_to_8bit=False)
    picture = found[found.primary_index]
    info = picture.info
    depth = int(info.get("bit_depth", 8))
    base, deep = picture.mode.partition(";")[0], ";" in picture.mode
    mode: Literal["grey", "rgb"] = "grey" if base.startswith("L") or base == "I" else "rgb"
    samples = None
    if pixels:
        samples = np.array(picture, copy=True)  # its memory goes with the container
        samples = samples[..., None] if samples.ndim == 2 else samples
        samples = samples.astype(np.uint16 if deep else np.uint8, copy=False)
    notes = []
    if len(found) > 1:
        notes.append(Loss(f"{len(found) - 1} further pictures of the HEIC file were left out"))
    if info.get("depth_images"):
        notes.append(Loss("the HEIC's depth map was left out: it is of the picture before"))
    if info.get("aux"):
        notes.append(
            Loss("auxiliary pictures of the HEIC (a gain map, a matte) were left out: they are of the picture before")
        )
    metadata = _metadata(info)
    return Foreign(
        picture.size[0], picture.size[1], mode, base.endswith("A"), depth if deep else 8, False,
        signal=signal, metadata=metadata, notes=tuple(notes), samples=samples,
    )  # fmt: skip


def _metadata(info: dict[str, object]) -> Metadata:
    """Metadata; the container turned the picture, so that the orientation in EXIF no longer counts."""
    exif, xmp, icc = info.get("exif"), info.get("xmp"), info.get("icc_profile")
    return Metadata(
        icc=icc if isinstance(icc, bytes) and icc else None,
        exif=exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) and exif else None,
        xmp=xmp if isinstance(xmp, bytes) and xmp else None,
    )
