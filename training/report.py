"""A run's report: one HTML page that needs no network, no server and no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from string import Template

import cv2
import msgspec
import numpy as np

from contract.training import Gate, LeftOut, Record, Run
from training.curves import curves
from training.degrade.apply import Pixels
from training.gate import Figures

SIDE = 208
"""Pixels of the middle of a picture that are shown, unscaled: five stand side by side."""
ROWS = 300


def page(record: Record, figures: Figures) -> bytes:
    """Write the page, UTF-8: gate table, pictures, curves, events, data, recipe. Names are escaped."""
    template = Template(resources.files("training").joinpath("page.html").read_text(encoding="utf-8"))
    run = record.run
    return template.substitute(
        title=escape(run.name),
        summary=escape(_summary(record)),
        verdict=escape(_verdict(record)),
        bad="" if record.gate.passed else " class='bad'",
        gate=_gate(record.gate),
        pictures="".join(_row(_short(name, run), row) for name, row in figures.made),
        figures=_figures(record),
        curves=curves(record.points, record.best_step) or "<p class='soft'>Nothing was measured twice.</p>",
        events=_table("<th>Step</th><th></th><th>What</th>", [(str(e.step), e.kind, e.text) for e in record.events])
        or "<p>Nothing happened that is to be noted.</p>",
        data=_data(record) + _left_out(run.left_out),
        recipe=_table("<th>Setting</th><th>Value</th>", _recipe(record)),
    ).encode()


def _summary(record: Record) -> str:
    run = record.run
    base = f"fine-tuned from {run.parent.name}" if run.parent else "trained from scratch"
    return (
        f"Training run {run.id}: {run.architecture} x{run.scale}, {base}, stage {run.recipe.stage}. {record.steps} steps in "
        f"{record.seconds:.0f} s; the checkpoint of step {record.best_step} is the best. {record.software}, {record.finished}."
    )


def _verdict(record: Record) -> str:
    if record.gate.passed:
        return f"The gate is passed: {record.run.name} is registered, under {record.weights.licence}."
    if record.forced:
        return f"The gate is NOT passed; {record.run.name} was registered all the same, by --force."
    return f"The gate is not passed: {record.run.name} is not registered."


def _gate(gate: Gate) -> str:
    rows = [
        (
            check.name,
            "passed" if check.passed else "failed",
            f"{check.value:g} {check.text}",
            "" if check.parent is None else f"{check.parent:g}",
            check.limit,
        )
        for check in gate.checks
    ]
    notes = "".join(f"<p class='soft'>{escape(note)}</p>" for note in gate.notes)
    return _table("<th>Rule</th><th></th><th>Trained</th><th>Parent</th><th>Wanted</th>", rows) + notes


def _short(name: str, run: Run) -> str:
    """Return a picture's name without the folder that all pictures of the run share."""
    folders = [picture.name.split("/")[:-1] for picture in run.pictures]
    shared: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return name.removeprefix("/".join((*shared, ""))) if shared else name


def _figures(record: Record) -> str:
    parent = record.run.parent.name if record.run.parent else "bicubic"
    rows = []
    for name, by in record.gate.pictures.items():
        for n, (method, values) in enumerate(by.items()):
            gain = values["psnr"] - by[parent]["psnr"]
            figures = (f"{values[key]:.2f}" if key in values else "" for key in ("generic", "luma", "chroma", "tint"))
            first = _short(name, record.run) if n == 0 else ""
            rows.append((first, method, f"{values['psnr']:.2f}", "" if method == parent else f"{gain:+.2f}", *figures))
    head = (
        "<th>Picture</th><th>Method</th><th>PSNR, dB</th><th>over the parent</th><th>on generic damage, dB</th>"
        "<th>Luma shift</th><th>Colour shift</th><th>Tint of grey</th>"
    )
    return _table(head, rows, "number")


def _row(name: str, row: dict[str, Pixels]) -> str:
    height, width = row["target"].shape[:2]
    shown = []
    for method, pixels in row.items():
        whole = pixels if pixels.shape[:2] == (height, width) else _nearest(pixels, (width, height))
        shown.append(
            f'<figure><img alt="{escape(method)}" src="{_embedded(_middle(whole))}"><figcaption>{escape(method)}</figcaption></figure>'
        )
    return f'<h3>{escape(name)}</h3><div class="row">{"".join(shown)}</div>'


def _nearest(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _middle(pixels: Pixels) -> Pixels:
    top, left = (max(0, side - SIDE) // 2 for side in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def _embedded(pixels: Pixels) -> str:
    done, data = cv2.imencode(".webp", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_WEBP_QUALITY, 90])
    assert done
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def _data(record: Record) -> str:
    rows = [
        (
            _short(p.name, record.run) + ("" if p.frame is None else f", frame {p.frame}"),
            "held out" if p.role == "held" else "train",
            f"{p.width}x{p.height}",
            p.sha256,
        )
        for p in record.run.pictures
    ]
    return _table("<th>Source</th><th>Set</th><th>Size</th><th>SHA-256</th>", rows, "number", "hash")


def _left_out(left: Iterable[LeftOut]) -> str:
    rows = [(one.name, one.reason) for one in left]
    return _table("<th>Left out</th><th>Why</th>", rows)


def _recipe(record: Record) -> list[tuple[str, str]]:
    """List every setting by its path: of recipe, damage, parent, weights, versions."""
    run = record.run
    plain = {
        "recipe": msgspec.to_builtins(run.recipe),
        "damage": run.damage,
        "parent": msgspec.to_builtins(run.parent) if run.parent else None,
        "weights": msgspec.to_builtins(record.weights),
        "versions": run.versions,
    }
    return list(_leaves("", plain))


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner)
    else:
        yield path, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _table(head: str, rows: Sequence[tuple[str, ...]], middle: str = "", last: str = "") -> str:
    """Make a table; cells after the first have class `middle`, those of the last column class `last` where given."""
    if not rows:
        return ""
    body = "".join(f"<tr>{''.join(_cells(row, middle, last))}</tr>" for row in rows[:ROWS])
    more = f"<p class='soft'>{len(rows) - ROWS} more are in the run's record.</p>" if len(rows) > ROWS else ""
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"


def _cells(row: tuple[str, ...], middle: str, last: str) -> Iterator[str]:
    for n, cell in enumerate(row):
        kind = "bad" if cell == "failed" else last if last and n == len(row) - 1 else middle if n else ""
        yield f"<td{f' class={kind!r}' if kind else ''}>{escape(cell)}</td>"
