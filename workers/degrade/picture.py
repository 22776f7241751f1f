"""One picture in, its degraded copy out, at the edge where pixels meet files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips

from contract.errors import BadInput
from workers.degrade.apply import degrade, output_size
from workers.degrade.draw import Draw

# Several copies in float32 are in memory at once: 64 megapixels take about 3 GB.
MOST_PIXELS = 64_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def degrade_picture(source: Path, out: Path, drawn: Draw, scale: float) -> tuple[str, ...]:
    """Write the degraded copy of `source` as 8-bit PNG, and say what was changed besides.

    Raises BadInput when the source cannot be read or is over 64 megapixels.
    """
    notes = []
    try:
        image = pyvips.Image.new_from_file(str(source), access="sequential")
        if image.width * image.height > MOST_PIXELS:
            raise BadInput(
                f"{source.name} has {image.width}x{image.height} pixels: "
                f"the degradation takes up to {MOST_PIXELS // 1_000_000} megapixels."
            )
        if image.get_typeof("orientation"):
            image = image.autorot()
        if image.format != "uchar":
            notes.append(f"{source.name} has more than 8 bits and was rounded to 8, which JPEG can hold.")
        grey = image.bands < 3
        image = image.colourspace("b-w" if grey else "srgb").cast("uchar")
        pixels = image.numpy()
    except pyvips.Error as error:
        raise BadInput(f"{source.name} cannot be read as a picture: {str(error).strip().splitlines()[0]}.") from error
    bands = 1 if grey else 3
    pixels = pixels.reshape(image.height, image.width, -1)
    colour = pixels[:, :, 0] if grey else pixels[:, :, :3]
    result = degrade(np.ascontiguousarray(colour), drawn, scale)
    done = pyvips.Image.new_from_array(result.reshape(*result.shape[:2], bands))
    if pixels.shape[2] > bands:
        height, width = output_size(image.height, image.width, scale)
        alpha = pyvips.Image.new_from_array(np.ascontiguousarray(pixels[:, :, bands]))
        alpha = alpha.resize(width / alpha.width, vscale=height / alpha.height).gravity("north-west", width, height)
        done = done.bandjoin(alpha.cast("uchar"))
        notes.append(f"{source.name} has an alpha channel, which was made smaller and not degraded.")
    done.copy(interpretation="b-w" if grey else "srgb").write_to_file(str(out), compression=9)
    return tuple(notes)
