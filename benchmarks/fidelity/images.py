"""Every kind of image, resampled at its own size and held against its source by another library: writes docs/fidelity-images.md.

Run `python -m benchmarks.fidelity.images`. Sources are written by Pillow, tifffile and OpenCV, results are read by them, and by
exiftool where it is there; Respool's own reader sees neither. At scale 1 the lanczos generator must give back the very pixels of
a lossless format, and of CMYK what Pillow's LittleCMS makes of it through the same profiles.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.fidelity.odd_damage import damage
from benchmarks.fidelity.odd_found import found
from benchmarks.fidelity.odd_images import examine_odd, formats
from benchmarks.fidelity.odd_metadata import metadata
from benchmarks.fidelity.odd_unknown import unknown
from contract.errors import RespoolError
from testkit.images import cases, examine


def main() -> int:
    """Write the page; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=Path("docs/fidelity-images.md"))
    page = parser.parse_args().page
    rows, faults = [], []
    with tempfile.TemporaryDirectory(prefix="respool-fidelity-") as folder:
        for case in cases():
            try:
                cells, wrong = examine(case, Path(folder))
            except RespoolError as error:
                cells, wrong = [case.name, *["-"] * 7, str(error)], [str(error)]
            rows.append("| " + " | ".join(cells) + " |")
            faults += [f"{case.name}: {fault}" for fault in dict.fromkeys(wrong)]
            print(rows[-1])
        odd = []
        for one in (*formats(), *damage(), *metadata(), *unknown(), *found()):
            cells, wrong = examine_odd(one, Path(folder))
            odd.append("| " + " | ".join(cells) + " |")
            faults += [f"{one.name}: {fault}" for fault in wrong]
            print(odd[-1])
    said = "\n".join(f"- {f}" for f in faults) or "None."
    page.write_text(_PAGE.format(rows="\n".join(rows), odd="\n".join(odd), faults=said, count=len(rows), odds=len(odd)))
    print(f"{len(rows)} kinds and {len(odd)} odd pictures, {len(faults)} faults; {page}")
    return 1 if faults else 0


_PAGE = """# Fidelity of images

`make fidelity` writes this page. {count} kinds of image were each written by Pillow, tifffile or OpenCV with everything the format can
carry, restored by Respool with `--model lanczos` at scale 1 and 2, and read back by the same libraries. *Pixels* is the mean error at scale 1 in
levels of 255, of CMYK against Pillow's LittleCMS through the same profiles; at scale 2 size, depth, bands and metadata are checked.
*exiftool* counts the tags that Debian's exiftool finds in the source besides sizes and structure; each must have the same value in
the result.

Density keeps the physical size: twice the pixels mean twice the dpi. An ICC profile is byte-identical in the result; pixels
are converted by the profile to sRGB for a network, and back. EXIF orientation is applied to the pixels and removed from the
tags, with a note.

| kind | pixels | ICC | EXIF | XMP | IPTC | dpi | exiftool | notes |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

## Odd pictures

{odds} odd pictures, each one of its kind, restored with `--model lanczos` at scale 1. *exact*: every sample (of lossy formats: nearly) and
all metadata that is checked are those of the source; *noted*: restored, with a note; *damaged*: restored and listed as damaged; *refused*: fails with one sentence.
*checked by* is the library that read the result.

| picture | outcome | checked by | note or message |
| --- | --- | --- | --- |
{odd}

Faults:

{faults}
"""

if __name__ == "__main__":
    sys.exit(main())
