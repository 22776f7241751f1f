"""docs/screens/: pages as a browser shows them, as wide as a phone, a tablet and a desk, light, dark and enlarged.

    python -m benchmarks.pages.screens [--page PAGE.html] docs/screens

restores a few frames and photographs of samples/, writes the job's report and photographs it with headless Chromium (Debian's
package `chromium`). With `--page` it photographs that page, a training run's report for example.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageChops

from contract.settings import Settings
from orchestrator.jobs.job_record import Trail
from orchestrator.local import start

MEDIA = Path(__file__).parents[2] / "samples" / "media"
_FRAMES = 12
_PATIENCE_S = 900
_LARGEST = 200_000
"""Bytes of a picture: the repository keeps every version of it."""
_COLOURS = (128, 96, 64, 48, 32, 24, 16)
"""Colours of a picture, the most that fit into _LARGEST."""
_ZOOMED = (
    "const fitted = acts.fit; acts.fit = () => { fitted(); resize(4); }; addEventListener('load', () => enlarge(2));"
)
"""A reader's click into a picture, which is then enlarged to squares."""
_MAPPED = "document.querySelector('figure input[type=checkbox]').click();"
"""A reader's click that shows a change map."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: its name's ending, the window in pixels, the page's anchor, the reader's theme, and a script in place of clicks."""

    ending: str
    width: int
    height: int
    anchor: str = ""
    dark: bool = False
    script: str = ""


SHOTS = (
    Shot("400", 400, 1500),
    Shot("400-map", 400, 940, dark=True, script=_MAPPED),
    Shot("400-time", 400, 1300, anchor="#time"),
    Shot("800", 800, 1150),
    Shot("800-dark", 800, 1150, dark=True),
    Shot("1400", 1400, 980),
    Shot("1400-zoom", 1400, 800, script=_ZOOMED),
)
PLAIN = (
    Shot("400", 400, 1500),
    Shot("800", 800, 1500),
    Shot("800-dark", 800, 1500, dark=True),
    Shot("1400", 1400, 1500),
)
"""The pictures of a page that is not a job's report."""


def sources(folder: Path) -> Path:
    """Write the job's sources into `folder` and return it: a film of 12 frames, three photographs, and an empty scan that must fail."""
    folder.mkdir()
    with av.open(str(MEDIA / "film.mp4")) as film, av.open(str(folder / "film.mp4"), "w") as short:
        pictures = film.decode(video=0)
        stream = short.add_stream("libx264", rate=24, options={"crf": "16", "g": "3"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for n in range(_FRAMES):
            frame = next(pictures).reformat(width=160, height=120, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 24)
            short.mux(stream.encode(frame))
        short.mux(stream.encode(None))
    for name in ("chelsea.jpg", "cup.png", "camera.png"):
        shutil.copy(MEDIA / "photographs" / name, folder / name)
    (folder / "scan_0412.tif").touch()
    return folder


def report(folder: Path) -> Path:
    """Run a job over `sources` on an embedded cluster of its own, and return its report."""
    respool, page = str(Path(sys.executable).with_name("respool")), folder / "report.html"
    state = ("--state", str(folder / "state"))
    job = ("-m", "realesr-animevideov3", "-s", "4", "--chunk-frames", "3", "-o", str(folder / "out"))
    run = [respool, "run", str(sources(folder / "in")), *job, "--json", *state]
    done = subprocess.run(run, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    named = next((event["id"] for event in events if event["event"] == "job"), None)
    if named is None:
        raise SystemExit(f"the job did not start: {done.stderr}")
    with start(Settings(state=folder / "state"), workers=0, orchestrator=False) as cluster:
        page.write_bytes(Trail(cluster.settings).report(named, 6))
    return page


def photograph(browser: str, page: Path, shot: Shot, out: Path) -> None:
    """Write a PNG of the page in a frame of the shot's width, without the empty room at its end."""
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        text = page.read_text(encoding="utf-8")
        (folder / "page.html").write_text(
            text.replace("</body>", f"<script>{shot.script}</script></body>"), encoding="utf-8"
        )
        # A browser's window has a least width above a phone's; a frame has none.
        frame = f'<iframe src="page.html{shot.anchor}" style="width:{shot.width}px;height:{shot.height}px;border:0">'
        (folder / "frame.html").write_text(f'<!doctype html><body style="margin:0">{frame}</iframe>', encoding="utf-8")
        window = f"--window-size={max(shot.width, 800)},{shot.height + 200}"
        theme = [f"--blink-settings=preferredColorScheme={0 if shot.dark else 1}"]
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
        command = [browser, *options, *theme, window, f"--user-data-dir={folder / 'profile'}"]
        shown = [f"--screenshot={folder / 'shot.png'}", (folder / "frame.html").as_uri()]
        subprocess.run(
            [*command, *shown], capture_output=True, timeout=120, check=True, env=os.environ | {"HOME": name}
        )
        with Image.open(folder / "shot.png") as image:
            out.write_bytes(small(image.convert("RGB").crop((0, 0, shot.width, shot.height))))


def small(image: Image.Image) -> bytes:
    """Cut off rows at the end that have the last row's colour throughout, reduce the colours, and return a PNG."""
    plain = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))
    box = ImageChops.difference(image, plain).getbbox()
    cut = image.crop((0, 0, image.width, min(image.height, box[3] + 16))) if box else image
    for colours in _COLOURS:
        made = io.BytesIO()
        cut.quantize(colours, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
        if len(made.getvalue()) <= _LARGEST:
            return made.getvalue()
    raise SystemExit(f"a picture has {len(made.getvalue())} bytes even in {colours} colours; choose a smaller window.")


def main() -> int:
    """Write the pictures; 2 without a Chromium."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages.screens", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", type=Path, help="photograph this page, not a new job's report")
    options = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no chromium on the PATH; install Debian's package of that name.", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        page = options.page or report(Path(name))
        for shot in PLAIN if options.page else SHOTS:
            out = options.folder / f"{page.stem}-{shot.ending}.png"
            photograph(browser, page, shot, out)
            print(f"{out} {out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
