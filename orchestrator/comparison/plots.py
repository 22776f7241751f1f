"""Plots of a job's time as SVG: chunks by worker, and the duration of each chunk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from orchestrator.result_record import ChunkFacts

WIDTH = 1000
_ROW, _LEFT, _TALL = 22, 170, 160
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
    scale = (WIDTH - _LEFT) / length
    height = _ROW * len(workers) + 24
    parts = [f'<text x="0" y="{_ROW * n + 15}">{escape(w[-26:])}</text>' for n, w in enumerate(workers)]
    for begin, end, chunk in spans:
        x, y = _LEFT + (begin - start) * scale, _ROW * workers.index(chunk.worker) + 4
        tip = f"chunk {chunk.chunk}: {end - begin:.1f} s on {chunk.device}"
        kind = "late" if chunk.failed_before else "bar"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{max(1.0, (end - begin) * scale - 1):.1f}" '
            f'height="{_ROW - 8}"><title>{escape(tip)}</title></rect>'
        )
    parts += _axis(_ROW * len(workers) + 18, length)
    return _figure(parts, height, f"Chunks by worker over {length:.0f} s{said}; red ones had failed attempts before.")


def durations(chunks: Sequence[ChunkFacts]) -> str:
    """Draw a bar for each chunk in order, its height the chunk's duration; empty if no chunk has one."""
    drawn, said = _thinned([c for c in chunks if c.seconds.get("whole")])
    if not drawn:
        return ""
    longest = max(c.seconds["whole"] for c in drawn)
    step = (WIDTH - _LEFT) / len(drawn)
    parts = [f'<text x="0" y="14">{longest:.1f} s</text>', f'<text x="0" y="{_TALL}">0 s</text>']
    for n, chunk in enumerate(drawn):
        tall = chunk.seconds["whole"] / longest * (_TALL - 10)
        kind = "late" if chunk.failed_before else "bar"
        tip = f"chunk {chunk.chunk}: {chunk.seconds['whole']:.1f} s, {chunk.worker}"
        parts.append(
            f'<rect class="{kind}" x="{_LEFT + n * step:.2f}" y="{_TALL - tall:.1f}" width="{max(0.5, step * 0.85):.2f}" '
            f'height="{tall:.1f}"><title>{escape(tip)}</title></rect>'
        )
    return _figure(parts, _TALL + 6, f"Seconds of each chunk, in order{said}.")


def _thinned(chunks: list[ChunkFacts]) -> tuple[list[ChunkFacts], str]:
    step = -(-len(chunks) // MOST)
    return (chunks, "") if step <= 1 else (chunks[::step], f" (every {step}th of {len(chunks)} chunks)")


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


def _axis(y: int, length: float) -> list[str]:
    marks = [(_LEFT + (WIDTH - _LEFT) * n / 4, f"{length * n / 4:.0f} s") for n in range(5)]
    anchors = ("start", "middle", "middle", "middle", "end")
    return [
        f'<text x="{x:.0f}" y="{y}" text-anchor="{a}">{said}</text>'
        for (x, said), a in zip(marks, anchors, strict=True)
    ]


def _figure(parts: list[str], height: int, caption: str) -> str:
    drawing = "".join(parts)
    return f'<div class="plot"><svg viewBox="0 0 {WIDTH} {height}" role="img">{drawing}</svg><p class="soft">{escape(caption)}</p></div>'
