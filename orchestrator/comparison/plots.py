"""Plots of a job's time as SVG: chunks by worker, and the duration of each chunk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from orchestrator.result_record import ChunkFacts

_NAME, _ROW, _GAP, _TALL, _AXIS = 16, 14, 8, 160, 20
"""Pixels. Heights only: places along the width are shares of it, so that words have one size on a phone and on a wall."""
MOST = 1500
"""Marks in a plot: more would be thinner than a pixel and make the page slow; then every n-th chunk is drawn, as the caption tells."""


def timeline(chunks: Sequence[ChunkFacts]) -> str:
    """Draw a row for each worker and a bar for each chunk from claim to result; empty if no chunk has its times."""
    drawn, said = _thinned([c for c in chunks if c.started and c.finished])
    if not drawn:
        return ""
    spans = [
        (_seconds(c.started), max(_seconds(c.finished), _seconds(c.started) + c.seconds.get("whole", 0.0)), c)
        for c in drawn
    ]
    start = min(s for s, _, _ in spans)
    length = max(max(e for _, e, _ in spans) - start, 1.0)
    workers = sorted({c.worker for c in drawn})
    row = _NAME + _ROW + _GAP
    parts = [f'<text x="0" y="{row * n + 12}">{escape(w[-40:])}</text>' for n, w in enumerate(workers)]
    for begin, end, chunk in spans:
        tip = f"chunk {chunk.chunk}: {end - begin:.1f} s on {chunk.device}"
        top = row * workers.index(chunk.worker) + _NAME
        wide = (end - begin) / length
        parts.append(_bar(chunk, tip, ((begin - start) / length, wide - min(0.0015, wide / 10)), top, _ROW))
    height = row * len(workers)
    caption = f"Chunks by worker over {length:.0f} s{said}; red ones had failed attempts before."
    return _figure(parts + _axis(height + 10, length), height + _AXIS, caption)


def durations(chunks: Sequence[ChunkFacts]) -> str:
    """Draw a bar for each chunk in order, its height the chunk's duration; empty if no chunk has one."""
    drawn, said = _thinned([c for c in chunks if c.seconds.get("whole")])
    if not drawn:
        return ""
    longest = max(c.seconds["whole"] for c in drawn)
    base = _NAME + _TALL
    parts = [
        f'<line x1="0" x2="100%" y1="{y}" y2="{y}"/><text x="0" y="{y - 4}">{seconds:.1f} s</text>'
        for y, seconds in ((_NAME, longest), (_NAME + _TALL // 2, longest / 2))
    ]
    for n, chunk in enumerate(drawn):
        tall = chunk.seconds["whole"] / longest * _TALL
        tip = f"chunk {chunk.chunk}: {chunk.seconds['whole']:.1f} s, {chunk.worker}"
        parts.append(_bar(chunk, tip, (n / len(drawn), 0.85 / len(drawn)), base - tall, tall))
    return _figure(parts, base + 2, f"Seconds of each chunk, in order{said}; the longest took {longest:.1f} s.")


def _bar(chunk: ChunkFacts, tip: str, across: tuple[float, float], top: float, tall: float) -> str:
    """Draw a bar; `across` has its left edge and its width as shares of the plot's width."""
    left, wide = across
    return (
        f'<rect class="{"late" if chunk.failed_before else "bar"}" x="{left:.3%}" y="{top:.1f}" width="{max(wide, 0.001):.3%}" '
        f'height="{tall:.1f}"><title>{escape(tip)}</title></rect>'
    )


def _thinned(chunks: list[ChunkFacts]) -> tuple[list[ChunkFacts], str]:
    step = -(-len(chunks) // MOST)
    return (chunks, "") if step <= 1 else (chunks[::step], f" (every {step}th of {len(chunks)} chunks)")


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


def _axis(y: int, length: float) -> list[str]:
    anchors = ("start", "middle", "middle", "middle", "end")
    return [
        f'<text x="{n / 4:.0%}" y="{y}" text-anchor="{anchor}">{length * n / 4:.0f} s</text>'
        for n, anchor in enumerate(anchors)
    ]


def _figure(parts: list[str], height: int, caption: str) -> str:
    drawing, said = "".join(parts), escape(caption)
    return (
        f'<div class="plot"><svg height="{height}" role="img" aria-label="{said}">{drawing}</svg>'
        f'<p class="soft">{said}</p></div>'
    )


def course(values: Sequence[float], caption: str) -> str:
    """Draw a bar for each value of a film's course, from its first frames to its last; `caption` tells what they are."""
    most = max(values, default=0.0)
    if not most:
        return ""
    base = _NAME + _TALL // 2
    parts = [f'<line x1="0" x2="100%" y1="{_NAME}" y2="{_NAME}"/><text x="0" y="{_NAME - 4}">{most:g}</text>']
    for n, value in enumerate(values):
        tall = value / most * _TALL / 2
        parts.append(
            f'<rect class="bar" x="{n / len(values):.3%}" y="{base - tall:.1f}" width="{0.85 / len(values):.3%}" height="{tall:.1f}"/>'
        )
    return _figure(parts, base + 2, caption)
