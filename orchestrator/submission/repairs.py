"""Repairs over time that a film's own pictures call for: the places to look at, and what is proposed by what was found there. Pure.

`python -m benchmarks.fidelity.evidence` prints what is found in clean and in damaged clips, by which the thresholds were set.
"""

from __future__ import annotations

from contract.evidence import JUDGED, Evidence, Finding, Look, LookOrder, Place
from contract.film import FilmIndex
from contract.job import Spec
from contract.time_filters import DEFLICKER, DIRT, SCRATCHES, STABILISE, STEADY, TimeFilter
from media.codecs import PROGRESSIVE
from media.columns import unpack

PLACES = 3
"""Places of a film that are looked at."""
LARGE = 1920 * 1088
"""Pixels of a frame above which it is one place."""
LOOKED_FOR: tuple[TimeFilter, ...] = DEFLICKER, DIRT, SCRATCHES, STABILISE
"""Filters that look for their faults, in the order of their options."""
CONTEXT = max(one.context for one in LOOKED_FOR)
"""Frames on either side of the judged ones, so that filters decide about these as they do in a restoration."""
CHANGED = 0.75
"""Least share of a place's judged frames that a filter must change to be proposed."""
FLICKER = 0.7
"""Code values of the mean level's deviation from which on levelling is proposed."""
WEAVE = 0.3
"""Pixels of shift from which on stabilising is proposed."""
DIRTY = 0.5
"""Clear blotches in a frame, on average, from which on filling is proposed."""
DIRTY_FRAMES, OF_CLEAR = 0.25, 0.1
"""Least share of the frames looked at that have some, and of all clear spots that they must be: most of those of snow or confetti are seen to move."""
TRAVELLED = 9.0
"""Pixels that the picture must move sideways in a place for its lines to be scratches, and not of the scene."""
GRAIN = 3.0
"""Code values of grain from which on steadying is proposed, where `STILL` of the picture stands still."""
STILL = 0.5


def look_order(index: FilmIndex, name: str) -> LookOrder:
    """Return the order to look at a planned film."""
    whole = index.deinterlace or index.encoding.field_order <= PROGRESSIVE
    # Two fields in a frame: dirt would be looked for among combs, and a shift would mix them.
    names = tuple(one.name for one in LOOKED_FOR if whole or one not in (DIRT, STABILISE))
    return LookOrder(name, index.stream, index.colour, index.scanning, index.deinterlace, tuple(places(index)), names)


def places(index: FilmIndex) -> list[Place]:
    """Return places evenly spread over a film; the whole film where it is short, its beginning alone where it cannot be sought."""
    count, whole = PLACES, PLACES * JUDGED + 2 * CONTEXT
    if index.width * index.height > LARGE:
        count, whole = 1, JUDGED + 2 * CONTEXT
    begins = index.piece is None or index.piece.first == 0
    pts = unpack(index.pts)
    own = None if begins else int(pts[0])
    if index.frames <= whole:
        return [Place(0, index.frames, 0, index.frames, own)]
    if index.lossless or index.joins:  # its times are not those of its packets
        return [Place(0, JUDGED + CONTEXT, 0, JUDGED)]
    found = []
    for n in range(count):
        start = (2 * n + 1) * (index.frames - JUDGED) // (2 * count)
        first = max(0, start - CONTEXT)
        stop = min(index.frames, start + JUDGED + CONTEXT)
        found.append(Place(first, stop - first, start, JUDGED, int(pts[first]) if first else own))
    return found


def proposed(evidence: Evidence, spec: Spec) -> list[str]:
    """Return the options that the evidence calls for and `spec` does not have, in the order of the filters."""
    options = []
    for one in LOOKED_FOR:
        found = [f for look in evidence.looks for f in look.findings if f.filter == one.name and _calls(f, look)]
        if found and not getattr(spec, one.name):
            options.append(one.option)
    if not spec.steady and any(_grainy(look) for look in evidence.looks):
        options.append(f"{STEADY.option} 1")
    return options


def _calls(finding: Finding, look: Look) -> bool:
    if finding.filter == DIRT.name:
        enough = finding.amount >= DIRTY and finding.frames >= DIRTY_FRAMES * (finding.looked or look.judged)
        return enough and finding.amount >= OF_CLEAR * (finding.amount + finding.others)
    if finding.frames < CHANGED * look.judged:
        return False
    if finding.filter == SCRATCHES.name:
        return bool(finding.columns) and finding.travelled >= TRAVELLED
    return finding.amount >= (FLICKER if finding.filter == DEFLICKER.name else WEAVE)


def _grainy(look: Look) -> bool:
    return (look.grain or 0.0) >= GRAIN and (look.still or 0.0) >= STILL


def lines(evidence: Evidence, index_frames: int, spec: Spec) -> list[str]:
    """Describe the evidence: how much was looked at, what each filter would change in its worst place, and the options proposed."""
    if not evidence.looks:
        return [f"faults over time: not looked for: {evidence.reason}"]
    count = len(evidence.looks)
    which = "all" if evidence.judged == index_frames else f"a sample of {evidence.judged} of {index_frames}"
    where = "" if evidence.judged == index_frames else f" in {count} place{'' if count == 1 else 's'}"
    said = [f"faults over time, by {which} frames{where}:"]
    for one in LOOKED_FOR:
        found = [(f, look) for look in evidence.looks for f in look.findings if f.filter == one.name]
        if found:
            said.append(f"  {one.option}: {_words(*max(found, key=lambda pair: _rank(*pair)))}")
    grainy = [look for look in evidence.looks if look.grain is not None]
    if grainy:
        most = max(grainy, key=lambda look: look.grain or 0.0)
        said.append(
            f"  fine change from frame to frame (grain, or texture that moves): {most.grain:g} code values in the flattest quarter; "
            f"{most.still or 0.0:.0%} of the picture stands still"
        )
    if evidence.reason:
        said.append(f"  not looked at: {evidence.reason}")
    options = proposed(evidence, spec)
    return [*said, f"  proposed: {' '.join(options)}" if options else "  nothing is proposed"]


def _rank(finding: Finding, look: Look) -> tuple[bool, int, float]:
    return _calls(finding, look), len(finding.columns), finding.amount


def _words(finding: Finding, look: Look) -> str:
    changed = f"{finding.frames} of {look.judged} frames from {look.start} on"
    if finding.filter == DIRT.name:
        return _dirt_words(finding, look)
    if not finding.frames:
        return "nothing found"
    if finding.filter == DEFLICKER.name:
        return f"the mean level is off by {finding.amount:g} code values (root mean square) in {changed}"
    if finding.filter == STABILISE.name:
        return f"the picture is off its path by {finding.amount:g} pixels (root mean square) in {changed}"
    if not finding.columns:
        return f"lines in {changed}, none of them in half of these frames"
    several = len(finding.columns) > 1
    at = f"{len(finding.columns)} lines at columns" if several else "a line at column"
    doubt = "" if finding.travelled >= TRAVELLED else "; of scratches or of the scene, which hardly moves there"
    return f"{at} {', '.join(map(str, finding.columns))}, up to {finding.amount:g} code values, in {changed}{doubt}"


def _dirt_words(finding: Finding, look: Look) -> str:
    others = (
        f"; {finding.others:g} spots a frame that are as clear are taken for things that move" if finding.others else ""
    )
    looked = finding.looked if finding.looked is not None else look.judged
    if not finding.frames:
        return f"nothing found in {looked} frames{others}"
    return f"{finding.amount:g} clear blotches a frame, in {finding.frames} of {looked} frames in the middle of those from {look.start} on{others}"
