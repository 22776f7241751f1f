"""Evidence of change: maps, sheets, and the report page, which a real browser opens from disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from contract.documents import raw
from contract.errors import VerifyError
from contract.job import Chunk, Damage, Done, Item, ItemFailure, Job, Manifest, Output, Plan, ResultFile, Spec
from orchestrator.comparison.before_after import pairs
from orchestrator.comparison.change_map import change
from orchestrator.comparison.contact_sheet import write_sheet
from orchestrator.comparison.plots import MOST, durations
from orchestrator.comparison.report import report
from orchestrator.provenance.record import records
from orchestrator.result_record import ChunkFacts


def smooth(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 90)], -1).astype(np.uint8)


@pytest.fixture
def changed(tmp_path: Path) -> tuple[Path, Path]:
    """A picture, and itself at twice the size by Lanczos with a bright square drawn into one place."""
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    Image.fromarray(smooth(200, 160)).save(before)
    larger = np.asarray(Image.fromarray(smooth(200, 160)).resize((400, 320), Image.Resampling.LANCZOS)).copy()
    larger[200:240, 300:340] = 255
    Image.fromarray(larger).save(after)
    return before, after


def test_a_map_shows_where_and_how_much(changed: tuple[Path, Path]) -> None:
    """The map is dark where plain resampling would have done the same, bright where detail was put in, and counts it."""
    (pair,) = pairs(*changed, count=1)
    found = change(pair)
    assert found.share == pytest.approx(40 * 40 / (400 * 320), rel=0.15)
    assert found.mean < 3
    assert found.most > 100
    left, top = found.hottest
    assert left <= 320 <= left + 128
    assert top <= 220 <= top + 128
    heat = found.map.numpy()
    assert heat.shape == (320, 400, 3)
    assert heat[220, 320].sum() > 600
    assert heat[50, 50].sum() < 60


def test_a_sheet_has_three_columns_and_two_rows(changed: tuple[Path, Path], tmp_path: Path) -> None:
    """Nearest, Lanczos and enhanced stand side by side, and below them the detail that changed most."""
    write_sheet(list(pairs(*changed, count=1)), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] > 3 * 400
    white = (pixels[:, -430:] >= 250).all(-1).mean()
    assert 0.02 < white < 0.9
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize(("mode", "kind"), [("L", np.uint8), ("RGBA", np.uint8), ("I;16", np.uint16)])
def test_pictures_of_every_kind_can_be_compared(tmp_path: Path, mode: str, kind: type) -> None:
    """Grey, alpha and 16 bits are shown as they look, and the same picture shows no change."""
    shape = (60, 80, 4) if mode == "RGBA" else (60, 80)
    Image.fromarray((np.ones(shape) * np.iinfo(kind).max * 0.6).astype(kind)).save(tmp_path / "a.png")
    (pair,) = pairs(tmp_path / "a.png", tmp_path / "a.png", count=1)
    assert pair.before.bands == 3
    assert change(pair).mean == 0


def film(path: Path, size: int, rate: Fraction) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1", "g": "12"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for n in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 4 * n, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_the_same_moments_of_a_film_are_compared(tmp_path: Path) -> None:
    """Frames are paired by time, whatever their containers round it to."""
    before, after = (
        film(tmp_path / "a.mp4", 64, Fraction(24000, 1001)),
        film(tmp_path / "b.mkv", 128, Fraction(24000, 1001)),
    )
    found = list(pairs(before, after, count=4))
    assert len(found) == 4
    for pair in found:
        assert abs(pair.before.avg() - pair.after.avg()) < 2.5
    levels = [pair.before.avg() for pair in found]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 100
    Image.fromarray(smooth(8, 8)).save(tmp_path / "c.png")
    with pytest.raises(VerifyError, match=r"a\.mp4"):
        list(pairs(before, tmp_path / "c.png", count=1))


HOSTILE = "<script>alert(1)</script>&\"'.png"


def page(changed: tuple[Path, Path]) -> str:
    """The report of a job with a good item, a damaged one and a failed one with a hostile name."""
    names = ("good.png", "film.mkv", HOSTILE)
    items = tuple(
        Item(n, "video" if name.endswith("mkv") else "image", name, name, f"{n:064x}", 10)
        for n, name in enumerate(names)
    )
    job = Job("0123456789abcdef", Spec(model="lanczos", scale=2.0), items, "2026-01-02T03:04:05+00:00")
    facts = {
        "device": raw("cpu"), "started": raw("2026-01-02T03:04:05+00:00"),
        "finished": raw("2026-01-02T03:04:09+00:00"), "seconds": raw({"whole": 4.0}), "attempts": raw(["died"]),
    }  # fmt: skip
    done = Done(0, "1-00000000", "host<1>", 1, (Output(0, "k", "b" * 64, 1, 1, 2, 2),), record=facts)
    manifest = Manifest(
        job.id,
        "failed",
        (ResultFile(0, "good.png", "k", "b" * 64, 1),),
        (ItemFailure(2, HOSTILE, "it is <b>broken</b>"),),
        (Damage(1, 3, 4, "bit errors"), Damage(0, 0, 1, "its lower half is gone")),
        finished="2026-01-02T03:05:00+00:00",
    )
    told = records(job, Plan(job.id, (Chunk(0, "image", 0, 0, 1, "a"),)), {0: done}, manifest)
    return report(job, manifest, list(told), pairs(*changed, count=1)).decode()


def test_the_page_is_self_contained_and_escapes_names(changed: tuple[Path, Path]) -> None:
    """No address is loaded, no name becomes markup, and everything that went wrong is on the page."""
    text = page(changed)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert "http" not in re.sub(r"data:[^\"]+", "", text).replace("http-equiv", "")
    assert "<script>alert" not in text
    assert "<b>broken" not in text
    assert "host<1>" not in text
    for said in (
        "bit errors",
        "frames 3 to 6",
        "<td>its lower half is gone",
        "&lt;b&gt;broken",
        "no detail was generated",
        "b" * 64,
        "another attempt",
    ):
        assert said in text, said


def test_plots_of_huge_jobs_stay_small() -> None:
    """100,000 chunks are drawn as at most MOST bars, and the page says so."""
    many = [ChunkFacts(n, "1-0", "w", seconds={"whole": 1.0 + n % 7}) for n in range(100_000)]
    drawn = durations(many)
    assert drawn.count("<rect") <= MOST
    assert "of 100000 chunks" in drawn


@pytest.fixture(scope="session")
def browser(need: Callable[[str], str]) -> str:
    """A Chromium, by any of its names."""
    return next(filter(None, map(shutil.which, ("chromium-browser", "google-chrome"))), None) or need("chromium")


PROBE = """
<script>
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
console.error = (...said) => errors.push(said.join(" "));
window.addEventListener("load", () => {
  const slider = document.querySelector("input[type=range]"), pair = document.querySelector(".pair");
  const wide = () => getComputedStyle(pair.querySelector(".before")).clipPath;
  const start = wide();
  slider.value = 20;
  slider.dispatchEvent(new Event("input", {bubbles: true}));
  const moved = wide();
  document.querySelector("input[type=checkbox]").click();
  const map = getComputedStyle(pair.querySelector(".map")).display;
  const images = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
  document.title = JSON.stringify({start, moved, map, images, errors, bars: document.querySelectorAll("svg rect").length});
});
</script>
"""


def test_a_browser_opens_it_from_disk(changed: tuple[Path, Path], tmp_path: Path, browser: str) -> None:
    """In headless Chromium the slider moves, the change map appears, every picture loads and nothing is complained about."""
    path = tmp_path / "report.html"
    path.write_text(page(changed).replace("<body>", "<body>" + PROBE))
    shot = tmp_path / "shot.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    clean = os.environ | {"HOME": str(tmp_path)}
    dumped = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True, env=clean
    )
    title = re.search(r"<title>(\{.*?\})</title>", dumped.stdout)
    assert title, dumped.stderr[-2000:]

    found = json.loads(title.group(1))
    assert found["errors"] == []
    assert found["start"] != found["moved"]
    assert found["map"] == "block"
    assert found["images"]
    assert found["bars"] == 2
    subprocess.run(
        [*command, f"--screenshot={shot}", "--window-size=1100,1600", path.as_uri()],
        capture_output=True, timeout=120, check=True, env=clean,
    )  # fmt: skip
    with Image.open(shot) as image:
        assert image.size == (1100, 1600)
        assert len(np.unique(np.asarray(image.convert("L")))) > 50
