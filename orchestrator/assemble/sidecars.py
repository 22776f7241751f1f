"""Files beside a result, for what its container has no place for: captions (.scc) and time code (.timecode.json)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from contract.film import FilmIndex
from media.columns import unpack
from orchestrator.assemble.captions import Captions, scc

if TYPE_CHECKING:
    from collections.abc import Iterator


def sidecars(index: FilmIndex, captions: Captions, result: str) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files that belong beside the result called `result`."""
    stem = str(PurePosixPath(result).with_suffix(""))
    text = scc(captions, index)
    if text:
        yield f"{stem}.scc", text.encode()
    if index.time_marks:
        yield f"{stem}.timecode.json", _marks(index)


def _marks(index: FilmIndex) -> bytes:
    """Return time code and recording dates with the frames from which they run, as JSON."""
    pts, base = unpack(index.pts), Fraction(*index.time_base)
    marks = [
        {
            "frame": mark.first,
            "seconds": round(float(int(pts[mark.first]) * base), 6),
            mark.kind: mark.value,
            "of": mark.of,
        }
        for mark in index.time_marks
    ]
    facts = {"frames": index.frames, "rate": str(index.rate), "marks": marks}
    return msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"
