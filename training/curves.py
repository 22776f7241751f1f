"""Curves of a run as SVG: one small plot for each quantity. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from contract.training import Point

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 368, 150, 56, 22
"""Pixels. The width is a phone's, so that words keep their size there; wider columns enlarge a plot as a whole."""
TITLES = {
    "psnr": "Validation: PSNR of luma, dB",
    "distance": "Validation: perceptual distance",
    "shift": "Validation: error of the mean level, code values",
    "pixel": "Loss: L1 to the target",
    "perceptual": "Loss: perceptual",
    "adversarial": "Loss: adversarial",
    "judged": "Loss of the discriminator",
    "real": "Discriminator: probability given to real patches",
    "fake": "Discriminator: probability given to made patches",
}


def curves(points: Sequence[Point], best: int) -> str:
    """Draw every quantity that was measured at two steps or more; a dashed line marks step `best`."""
    plots = []
    for name, title in TITLES.items():
        found = [(point.step, point.values[name]) for point in points if name in point.values]
        if len(found) > 1:
            plots.append(_plot(title, found, best))
    return "".join(plots)


def _plot(title: str, points: list[tuple[int, float]], best: int) -> str:
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.01 or 0.01
    low, high = low - margin, high + margin
    span = (steps[-1] - steps[0]) or 1

    def place(step: int, value: float) -> str:
        x = _LEFT + (step - steps[0]) / span * (_WIDTH - _LEFT - 8)
        y = 8 + (high - value) / (high - low) * (_HEIGHT - _BOTTOM - 8)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(step, value) for step, value in points)
    base = _HEIGHT - _BOTTOM
    mark = ""
    if steps[0] <= best <= steps[-1]:
        x = place(best, low).partition(",")[0]
        mark = f'<line class="best" x1="{x}" y1="8" x2="{x}" y2="{base}"><title>best: step {best}</title></line>'
    return (
        f'<figure class="curve"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - 8}" y2="{base}"/>'
        f'{mark}<text x="{_LEFT - 6}" y="16" text-anchor="end">{high - margin:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">{low + margin:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">step {steps[0]}</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">{steps[-1]}</text>'
        f'<polyline class="curve" points="{line}"/></svg><figcaption>{escape(title)}</figcaption></figure>'
    )
