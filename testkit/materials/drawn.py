"""Materials of the grammar whose numbers once failed in `benchmarks.fidelity.differential`."""

from __future__ import annotations

from testkit.materials.grammar import draw
from testkit.materials.recipe import Material

DRAWN: tuple[Material, ...] = (
    Material("drawn-60-grey-animation", "mov", lambda: draw(60).data),
    Material("drawn-414-eac3-in-nut-to-mp4", "nut", lambda: draw(414).data, "mp4"),
    Material("drawn-631-late-sound-to-mov", "asf", lambda: draw(631).data, "mov"),
    Material("drawn-708-aac-in-ts", "ts", lambda: draw(708).data),
    Material("drawn-1702-late-sound-to-mov", "mkv", lambda: draw(1702).data, "mov"),
    Material("drawn-1704-eac3-in-nut", "nut", lambda: draw(1704).data),
    Material("drawn-1663-headers-repeated-in-flv", "flv", lambda: draw(1663).data),
)
