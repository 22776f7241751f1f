"""Every picture of a folder, restored at its own size and held against what two other libraries read in its source.

    python -m benchmarks.fidelity.folder FOLDER [--verbose] [--match TEXT]

For pictures of other collections, such as the test files of other libraries. A result that no other reader confirms must have a note or an
entry of damage, or it is silently wrong; an error that is not Respool's own, or a crash, is broken. Refusals are counted by their reason.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import msgspec
import numpy as np
import tifffile
from PIL import Image, ImageOps

from contract.errors import RespoolError
from contract.job import Spec
from contract.settings import Settings
from media.images.header import read_pages
from orchestrator.ingest.preflight import preflight
from testkit.exiftool import lost_tags
from testkit.programs import command_of
from workers.generators.registry import load
from workers.images.image import enhance_image

HANG_S = 240
MOST_PIXELS = 4_000_000
"""Larger pictures are left out: a folder of test files is to be done in minutes."""
SLICE = 40
"""Files whose results lie on disk until exiftool has read them."""
WORDS = ("left out", "broken", "cannot be read", "replaced", "carried", "brought", "could not", "offsets")
"""Words of notes on metadata."""
SIDE = 16
LOCAL, GLOBAL = 0.08, 0.02
"""Differences, as shares of white, of one block of 16 x 16 pixels and of the whole picture, above which two readings are different."""
NO_READER = "no other library reads the source"
Samples = np.ndarray[Any, Any]


def restored(file: Path, folder: Path) -> dict[str, Any]:
    """Restore one file; return its state (exact, noted, silent, refused, broken), words, and the names of source and result."""
    spec = Spec(model="lanczos", scale=1.0)
    began = time.perf_counter()
    answer: dict[str, Any] = {"name": str(file)}
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        pages = read_pages(file, file.name)[0]
        if pages[0].picture.width * pages[0].picture.height > MOST_PIXELS:
            return answer | {"state": "large", "words": ""}
        plan = preflight(file, file.name, spec, 1)
        result = folder / f"{len(list(folder.iterdir()))}-{Path(plan.result).name}"[-200:]
        made = enhance_image(file, result.name, spec, load(spec, {}, Settings(device="cpu")), result, lambda: None)
    except RespoolError as error:
        return answer | {"state": "refused", "words": str(error).replace(file.name, "FILE")}
    except Exception as error:
        return answer | {"state": "broken", "words": f"{type(error).__name__}: {error}"}
    finally:
        faulthandler.cancel_dump_traceback_later()
    said = [n for n in made.notes if not n.startswith(("the density", "written as"))]
    answer |= {"seconds": time.perf_counter() - began, "result": str(result), "notes": said, "damage": made.damage}
    problems = compare(file, result, pages[0].index)
    words = "; ".join([*made.damage, *problems, *said])
    confirmed = "" in problems
    readers = msgspec.convert(made.record["checks"], list[dict[str, Any]])[0]["readers"]
    unread = problems == [NO_READER] and len(readers) > 1  # then Respool's second reader confirms
    state = "damaged" if made.damage else "exact" if confirmed or unread else "noted" if said else "silent"
    return answer | {"state": state, "confirmed": confirmed, "words": words}


def compare(source: Path, result: Path, page: int) -> list[str]:
    """Describe, for each other reader, how its reading of the source differs from the result; an empty text where it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = next((one for _, one in readings(result, 0)), None)
        if found is None:
            return ["no other library reads the result"]
        turn = _orientation(source)
        problems = []
        for reader, expected in readings(source, page):
            upright = expected if reader == "Pillow" else _turned(expected, turn)
            difference = _difference(upright, found)
            problems.append(f"{reader}: {difference}" if difference else "")
    return problems or [NO_READER]


def readings(file: Path, page: int) -> Iterator[tuple[str, Samples]]:
    """Yield (reader, samples H x W x C in 0..1) for each library that reads a page of a file."""
    for name, read in (("tifffile", _tifffile), ("Pillow", _pillow), ("OpenCV", _opencv), ("imagecodecs", _codecs)):
        samples = None
        with contextlib.suppress(Exception):
            samples = read(file, page)
        if samples is not None and samples.size:
            yield name, samples


def _unit(samples: Samples, top: float | None = None) -> Samples:
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.dtype == bool:
        return samples.astype(np.float32)
    limit = top or (1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max))
    return samples.astype(np.float32) / limit


def _tifffile(file: Path, page: int) -> Samples | None:
    with tifffile.TiffFile(file) as found:
        one = found.pages[page]
        assert isinstance(one, tifffile.TiffPage)
        samples = one.asarray()
        if one.planarconfig == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
        if one.photometric == 3 and one.colormap is not None:
            samples = np.moveaxis(one.colormap, 0, -1)[samples]
            return _unit(samples)
        if one.photometric not in (0, 1, 2, 5):
            return None
        if samples.dtype.kind == "i":
            return None
        plain = _unit(samples, float((1 << one.bitspersample) - 1) if samples.dtype.kind == "u" else None)
        return 1 - plain if one.photometric == 0 else plain


def _pillow(file: Path, page: int) -> Samples | None:
    if file.read_bytes()[:26][24:25] == b"\x10" and file.suffix == ".png":
        return None  # 16 bits in colour, which Pillow halves
    with Image.open(file) as image:
        if page:
            image.seek(page)
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("P", "PA"):
            upright = upright.convert("RGBA" if "transparency" in upright.info or upright.mode == "PA" else "RGB")
        if upright.mode in ("I;16", "I;16B", "I;16L"):
            return _unit(np.asarray(upright).astype(np.uint16))
        if upright.mode == "I":
            return _unit(np.asarray(upright), 65535)
        if upright.mode not in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "F", "YCbCr"):
            return None
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        return _unit(np.asarray(upright.convert("RGB") if upright.mode == "YCbCr" else upright))


def _opencv(file: Path, page: int) -> Samples | None:
    if page or file.suffix.lower() in (".gif", ".tif", ".tiff"):
        return None
    samples = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None:
        return None
    if samples.ndim == 3 and samples.shape[2] in (3, 4):
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    return _unit(samples)


def _codecs(file: Path, page: int) -> Samples | None:
    decoders = {
        ".png": imagecodecs.png_decode, ".jp2": imagecodecs.jpeg2k_decode, ".j2k": imagecodecs.jpeg2k_decode, ".jxl": imagecodecs.jpegxl_decode,
        ".avif": imagecodecs.avif_decode, ".webp": imagecodecs.webp_decode, ".jpg": imagecodecs.jpeg8_decode,
    }  # fmt: skip
    decode = decoders.get(file.suffix.lower())
    return None if decode is None or page else _unit(np.asarray(decode(file.read_bytes())))


def _orientation(file: Path) -> int:
    with contextlib.suppress(Exception), Image.open(file) as image:
        return int(image.getexif().get(0x0112, 1))
    return 1


def _turned(samples: Samples, orientation: int) -> Samples:
    image = samples.transpose(1, 0, 2) if orientation in (5, 6, 7, 8) else samples
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image[:, ::-1] if orientation in (2, 3, 6, 7) else image


def _difference(expected: Samples, found: Samples) -> str:
    """Describe how two readings differ; empty where they show the same."""
    if expected.shape[:2] != found.shape[:2]:
        return f"{expected.shape} instead of {found.shape}"
    first, second = _colours(expected), _colours(found)
    if first.shape != second.shape:
        return f"{expected.shape[2]} bands instead of {found.shape[2]}"
    seen = np.ones((*first.shape[:2], 1), np.float32)
    for one in (expected, found):
        if one.shape[2] in (2, 4):
            seen = seen * one[..., -1:]
    error = np.abs(first - second) * (seen if found.shape[2] != 4 or expected.shape[2] == found.shape[2] else 1)
    rows, columns = (-(-n // SIDE) * SIDE for n in error.shape[:2])
    padded = np.pad(error.max(axis=2), ((0, rows - error.shape[0]), (0, columns - error.shape[1])))
    worst = padded.reshape(rows // SIDE, SIDE, columns // SIDE, SIDE).mean(axis=(1, 3)).max()
    if np.isnan(worst):
        return "not a number"
    if worst <= LOCAL and error.mean() <= GLOBAL:
        return ""
    return f"mean difference {error.mean():.4f}, in one block {worst:.4f}"


def _colours(samples: Samples) -> Samples:
    """Return three colour bands; of CMYK, which has four bands as RGBA has, what is there."""
    plain = samples[..., :1] if samples.shape[2] < 3 else samples[..., :3]
    return np.repeat(plain, 3, axis=2) if plain.shape[2] == 1 else plain


def child(names: list[str]) -> None:
    """Restore the named files and print an answer, in JSON, for each."""
    Image.MAX_IMAGE_PIXELS = None
    for start in range(0, len(names), SLICE):
        with tempfile.TemporaryDirectory(prefix="respool-folder-") as folder:
            made = []
            for name in names[start : start + SLICE]:
                print(json.dumps({"begun": name}), flush=True)
                made.append(restored(Path(name), Path(folder)))
            _check_tags(made)
        for answer in made:
            print(json.dumps(answer), flush=True)


def _check_tags(made: list[dict[str, Any]]) -> None:
    """Add the tags that exiftool no longer finds in results without a note on metadata."""
    pairs = [(Path(answer["name"]), Path(answer["result"])) for answer in made if "result" in answer]
    lost = lost_tags(pairs)
    for answer in made:
        gone = lost.get(answer["name"], [])
        if gone and not any(word in note for note in answer["notes"] for word in WORDS):
            answer["lost"] = gone[:12]


def answers(names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield an answer for each file; a child that dies is replaced, and the file at which it died is broken."""
    while names:
        command = command_of(__spec__, "--child")
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(names))
        process.stdin.close()
        begun: list[str] = []
        done = 0
        for line in process.stdout:
            answer = json.loads(line)
            if "begun" in answer:
                begun.append(answer["begun"])
                continue
            done, begun = done + 1, begun[1:]
            yield answer
        code = process.wait()
        names = names[done:]
        if begun:
            yield {"name": begun[-1], "state": "broken", "words": f"the reader died with exit code {code}"}
            names.remove(begun[-1])


def main() -> int:
    """Restore a folder; 1 when anything is silent or broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--match", default="", help="only files whose path contains this")
    parser.add_argument("--log", type=Path, help="write every answer to this file, one in JSON a line")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child:
        child(sys.stdin.read().split("\n"))
        return 0
    found = [path for path in wanted.folder.rglob("*") if path.is_file() and wanted.match in str(path)]
    files = [str(path) for path in sorted(found, key=lambda path: path.stat().st_size)]
    tally: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with wanted.log.open("w") if wanted.log else io.StringIO() as log:
        for answer in answers(files):
            tally[answer["state"]] += 1
            log.write(json.dumps(answer) + "\n")
            log.flush()
            if answer["state"] == "refused":
                reasons[re.sub(r"\d+", "N", answer["words"])[:160]] += 1
            if answer["state"] in ("silent", "broken"):
                print(f"{answer['name']}: {answer['state']}: {answer['words'][:400]}", flush=True)
            if answer.get("lost"):
                tally["lost"] += 1
                print(f"{answer['name']}: exiftool no longer finds {', '.join(answer['lost'])}", flush=True)
    for reason, count in reasons.most_common():
        print(f"{count} refused: {reason}")
    print(", ".join(f"{count} {state}" for state, count in sorted(tally.items())))
    return int(bool(tally["silent"] or tally["broken"] or tally["lost"]))


if __name__ == "__main__":
    sys.exit(main())
