"""Every kind of film, restored with `--model identity` and held against its source: `make fidelity` writes the page.

Each material goes the local way (plan, cut, decode, encode, assemble, verify in one process) as one, three and many
chunks, and once through a running cluster, where all of them are one job.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from testkit.cluster import rig
from testkit.materials.catalog import MATERIALS
from testkit.materials.outcomes import CHUNK_FRAMES, Outcome, local, system
from testkit.materials.recipe import Material

HEAD = """# Fidelity of films

The table shows what Respool keeps of each kind of film, and which notes the user gets ("said"). `make fidelity` writes it.

Each material (made by code: `testkit/materials`) is restored with `--model identity`, into FFV1 where its container takes it, and
compared with a one-thread sequential decode of the source: samples of every frame, timestamps (exact in mp4 and mov, half a tick
in mkv and ts), payloads and times of every other stream, chapters, languages, dispositions, tags, pixel shape, rotation and
colour tags. Each is restored in four ways: as one chunk, as about three and as many in one process, and through a running cluster.

| material | from, to | frames | outcome | times | other streams | chunks |
| --- | --- | --- | --- | --- | --- | --- |
"""


def row(material: Material, outcomes: list[Outcome]) -> tuple[str, bool]:
    """Return a line of the table, and whether all ways gave what is expected."""
    good = all(o.as_expected(material.expect, material.says) for o in outcomes)
    first = outcomes[0]
    if not good:
        bad = next(o for o in outcomes if not o.as_expected(material.expect, material.says))
        words = "**WRONG**: " + "; ".join(bad.problems or [bad.refused or "not refused"])
    elif first.refused:
        words = f"refused: {first.refused}"
    elif any(o.problems for o in outcomes):
        words = "flagged: " + "; ".join(dict.fromkeys(first.said))
    else:
        words = "exact" + (f"; said: {'; '.join(dict.fromkeys(first.said))}" if first.said else "")
    words = words.replace("|", "/")[:300]
    chunks = ", ".join(str(o.chunks) for o in outcomes)
    kinds = f"{material.suffix}, {material.target}"
    return (
        f"| {material.name} | {kinds} | {first.frames} | {words} | {first.timing} | {first.streams} | {chunks} |",
        good,
    )


def main() -> int:
    """Write the page; exit 1 when any material is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/fidelity.md"))
    options = parser.parse_args()
    lines, wrong = [], 0
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        with rig(place, workers=1, lease_ttl_s=30.0) as r:
            whole = system(r, MATERIALS, place)
        for material in MATERIALS:
            outcomes = [local(material, place, n) for n in CHUNK_FRAMES]
            line, good = row(material, [*outcomes, whole[material.name]])
            wrong += not good
            lines.append(line)
            sys.stderr.write(line + "\n")
    options.out.write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{len(MATERIALS)} materials, {wrong} not as expected: {options.out}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
