"""Comparison of metadata through exiftool, an independent reader that shares no code with Respool."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_STRUCTURE = (
    "File",
    "System",
    "ExifTool",
    "Composite",
    "PNG",
    "JFIF",
    "RIFF",
    "VP8",
    "QuickTime",
    "Meta",
    "Track",
    "ICC",
    "Adobe",
)
"""exiftool's groups about how a file is stored; ICC profiles are compared byte by byte."""
_MADE = frozenset(
    {
        "ImageWidth",
        "ImageHeight",
        "XResolution",
        "YResolution",
        "ResolutionUnit",
        "Orientation",
        "ExifImageWidth",
        "ExifImageHeight",
    }
)
_STORED = frozenset(
    {
        "BitsPerSample",
        "Compression",
        "PhotometricInterpretation",
        "StripOffsets",
        "InkSet",
        "StripByteCounts",
        "RowsPerStrip",
        "Predictor",
    }
    | {
        "SamplesPerPixel",
        "PlanarConfiguration",
        "SampleFormat",
        "ExtraSamples",
        "TileWidth",
        "TileLength",
        "TileOffsets",
    }
    | {
        "TileByteCounts",
        "SubfileType",
        "ColorMap",
        "JPEGTables",
        "YCbCrSubSampling",
        "ReferenceBlackWhite",
        "FillOrder",
    }
    | {"T6Options", "T4Options", "PageNumber", "YCbCrPositioning", "Software", "ImageDescription"}
    | {"PreviewImage", "PreviewImageStart", "PreviewImageLength"}  # exiftool's interpretation of a TIFF's JPEG strips
    | {"ApplicationNotes", "IPTC-NAA"}  # blocks of a BigTIFF, which it does not open; tifffile compares them
)


def metadata_kept(source: Path, out: Path) -> tuple[str, list[str]]:
    """Count the tags that exiftool finds in `source`, without structure, and list those missing or changed in `out`."""
    program = shutil.which("exiftool")
    if program is None:
        return "-", []
    answer = subprocess.run(
        [program, "-j", "-G1", "-a", "-n", "-struct", str(source), str(out)], capture_output=True, check=True
    )
    before, after = json.loads(answer.stdout)
    said = {
        name: value
        for name, value in before.items()
        if ":" in name and not name.startswith(_STRUCTURE) and name.partition(":")[2] not in _MADE | _STORED
    }
    return f"{len(said)} tags", [name for name, value in said.items() if after.get(name) != value]


def lost_tags(pairs: Sequence[tuple[Path, Path]]) -> dict[str, list[str]]:
    """Return, by source, the tags that are missing or changed in its result; empty where exiftool is not installed."""
    program = shutil.which("exiftool")
    if program is None or not pairs:
        return {}
    names = [str(path) for pair in pairs for path in pair]
    command = [program, "-j", "-G1", "-a", "-n", "-struct", "-q", "-q", "-m", "-@", "-"]
    answer = subprocess.run(command, input="\n".join(names).encode(), capture_output=True, check=False)
    found = {entry["SourceFile"]: entry for entry in json.loads(answer.stdout or b"[]")}
    lost = {}
    for source, out in pairs:
        before, after = found.get(str(source), {}), found.get(str(out), {})
        tags = {
            name: value
            for name, value in before.items()
            if ":" in name
            and not name.startswith((*_STRUCTURE, "AVIF", "Ducky", "Jpeg2000", "GIF", "BMP", "IFD1", "JXL"))
            and name.partition(":")[2] not in _MADE | _STORED
        }
        lost[str(source)] = [name for name, value in tags.items() if after.get(name) != value]
    return lost
