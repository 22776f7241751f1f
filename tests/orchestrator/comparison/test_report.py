"""The report page: what it says, and what a real browser does with it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.documents import raw
from contract.job import Chunk, Damage, Done, Item, ItemFailure, Job, Manifest, Output, Plan, ResultFile, Spec
from orchestrator.comparison.before_after import pairs
from orchestrator.comparison.figures import DETAIL, SIDE
from orchestrator.comparison.report import report
from orchestrator.provenance.record import records
from testkit.images import smooth
from testkit.processes import running, until

HOSTILE = "<script>alert(1)</script>&\"'.png"


def page(changed: tuple[Path, Path], copies: int = 1) -> str:
    """The report of a job with a good item, shown `copies` times, a damaged one and a failed one with a hostile name."""
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
    return report(job, manifest, list(told), list(pairs(*changed, count=1)) * copies).decode()


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


def test_large_pictures_have_a_detail_with_every_pixel(tmp_path: Path) -> None:
    """A result wider than the page's pictures is reduced, is called so, and the part that changed most stands beside it, lossless."""
    Image.fromarray(smooth(750, 500)).save(tmp_path / "before.png")
    large = np.asarray(Image.fromarray(smooth(750, 500)).resize((1500, 1000), Image.Resampling.LANCZOS)).copy()
    noise = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
    large[700:800, 1200:1300] = noise
    Image.fromarray(large).save(tmp_path / "after.png")
    text = page((tmp_path / "before.png", tmp_path / "after.png"))
    assert text.count("<figure") == 2
    assert f"Shown reduced to a width of {SIDE}." in text
    said = re.search(r"the (\d+)x(\d+) pixels from column (\d+) and row (\d+) on", text)
    assert said
    width, height, left, top = map(int, said.groups())
    assert (width, height) == DETAIL
    detail = np.asarray(embedded(text)[3].convert("RGB"))
    assert (detail == large[top : top + height, left : left + width]).all()
    assert (detail[700 - top : 800 - top, 1200 - left : 1300 - left] == noise).all()


def embedded(text: str) -> list[Image.Image]:
    """The page's pictures in order: of each figure after, before and change map."""
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.fixture(scope="session")
def browser(need: Callable[[str], str]) -> str:
    """A Chromium, by any of its names."""
    return next(filter(None, map(shutil.which, ("chromium-browser", "google-chrome"))), None) or need("chromium")


PROBE = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
console.error = (...said) => errors.push(said.join(" "));
const until = (look) => new Promise((done) => { const again = () => look() ? done() : requestAnimationFrame(again); again(); });
addEventListener("load", async () => {
  const pair = document.querySelector(".pair"), first = document.querySelector("figure input[type=range]");
  const display = (selector) => getComputedStyle(document.querySelector(selector)).display;
  const wide = () => getComputedStyle(pair.querySelector("img.before")).clipPath;
  const found = {start: wide(), words: pair.innerText.split("\\n").filter(Boolean), legend: [display("figure .legend")]};
  first.value = 20;
  first.dispatchEvent(new Event("input", {bubbles: true}));
  found.moved = wide();
  found.told = first.getAttribute("aria-valuetext");
  document.querySelector("figure input[type=checkbox]").click();
  found.map = display("figure .map");
  found.legend.push(display("figure .legend"));
  found.images = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
  found.bars = document.querySelectorAll("svg rect").length;
  const box = document.querySelector("dialog"), stage = box.querySelector(".stage"), zoom = box.querySelector("output");
  const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  document.querySelector("figure button").focus();
  document.querySelector("figure button").click();
  await until(() => zoom.textContent);
  found.opened = [box.open, document.activeElement === stage, stage.querySelector(".pair").classList.contains("shown")];
  const large = () => stage.querySelector("img").getBoundingClientRect().width;
  press("1");
  found.one = [zoom.textContent, large()];
  for (const key of "++++") press(key);
  found.larger = [zoom.textContent, large(), getComputedStyle(stage.querySelector("img")).imageRendering];
  const at = stage.scrollLeft;
  press("ArrowRight");
  found.panned = stage.scrollLeft > at;
  press("-");
  found.smaller = zoom.textContent;
  press("m");
  found.plain = stage.querySelector(".pair").classList.contains("shown");
  const slider = box.querySelector("input[type=range]").value;
  press("b");
  found.swapped = [slider, box.querySelector("input[type=range]").value];
  box.querySelector("[data-do=close]").click();
  found.closed = [box.open, document.activeElement === document.querySelector("figure button")];
  console.log("FOUND " + JSON.stringify({...found, errors}));
});
</script>
"""


def opened(browser: str, path: Path, folder: Path) -> dict[str, Any]:
    """Open `path` in a browser; return the JSON that the page wrote to its console.

    Not its DOM after a virtual time: that passes at once where nothing waits, sometimes before the page has been loaded.
    """
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--window-size=1500,1000", path.as_uri()]
    said = folder / "browser.log"

    def found() -> re.Match[str] | None:
        return re.search(r'CONSOLE.*?"FOUND (\{.*\})", source: ', said.read_text(errors="replace"))

    with running(command, said, {"HOME": str(folder)}):
        told: dict[str, Any] = json.loads(until(found, "what the page found", 120)[1])
    return told


def test_a_browser_opens_it_from_disk(changed: tuple[Path, Path], tmp_path: Path, browser: str) -> None:
    """In Chromium slider, change map, legend, enlarged picture and its keys do their work, and nothing is complained about."""
    path = tmp_path / "report.html"
    path.write_text(page(changed).replace("<body>", "<body>" + PROBE))
    found = opened(browser, path, tmp_path)
    assert found["errors"] == []
    assert found["start"] != found["moved"]
    assert found["told"] == "20% before, 80% after"
    assert found["words"] == ["before", "after"]
    assert (found["map"], found["legend"]) == ("block", ["none", "block"])
    assert found["images"]
    assert found["bars"] == 2
    assert found["opened"] == [True, True, True]
    assert found["one"] == ["100%", 400]
    assert found["larger"] == ["600%", 2400, "pixelated"]
    assert found["panned"]
    assert found["smaller"] == "400%"
    assert not found["plain"]
    assert found["swapped"] == ["20", "100"]
    assert found["closed"] == [False, True]


WIDTHS = (400, 800, 1400)
MEASURE = """
<script>
addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, words = [...page.querySelectorAll("svg text")];
    const edges = (of) => [...page.querySelectorAll(of)].map((element) => element.getBoundingClientRect().right);
    const tops = [...page.querySelectorAll("figure")].map((figure) => figure.getBoundingClientRect().top);
    found[frame.width] = {
      overflow: page.documentElement.scrollWidth - frame.clientWidth,
      figures: Math.max(...edges("figure")), plots: Math.max(...edges("svg")), columns: tops.filter((top) => top === tops[0]).length,
      words: Math.min(...words.map((word) => parseFloat(frame.contentWindow.getComputedStyle(word).fontSize) * word.getScreenCTM().a)),
    };
  }
  console.log("FOUND " + JSON.stringify(found));
});
</script>
"""


def test_pages_use_their_width(changed: tuple[Path, Path], tmp_path: Path, browser: str) -> None:
    """On a phone, a tablet and a desk nothing overflows, pictures and plots fill the width, and a plot's words keep their size."""
    text = escape(page(changed, copies=3))
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{text}"></iframe>' for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(f"<!doctype html><title></title><body>{frames}{MEASURE}")
    found = opened(browser, tmp_path / "frames.html", tmp_path)
    for width in WIDTHS:
        seen = found[str(width)]
        assert seen["overflow"] <= 0, width
        assert seen["figures"] >= 0.9 * width, seen
        assert seen["plots"] >= 0.9 * width, seen
        assert seen["words"] >= 12, seen
    assert [found[str(width)]["columns"] for width in WIDTHS] == [1, 2, 3]
