"""Restoration of materials in one process and through a running cluster, and the outcome of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import RespoolError
from contract.job import Spec
from media.frame_changes import merged
from orchestrator.submission.submit import submit
from testkit.cluster import Rig
from testkit.materials.check import compare
from testkit.materials.in_process import restore
from testkit.materials.recipe import Material

CHUNK_FRAMES = (10_000, 16, 4)
"""One chunk, about three, and many: the materials have about 48 frames."""


@dataclass
class Outcome:
    """Outcome of one material in one run. `problems` are differences from the source; `said` are the notes."""

    frames: int = 0
    chunks: int = 0
    timing: str = "-"
    streams: str = "-"
    problems: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refused: str = ""

    def as_expected(self, expect: str, says: str = "") -> bool:
        """Report whether this is what `expect` and `says` of a material promise."""
        if says and not any(re.search(says, words) for words in (*self.said, self.refused)):
            return False
        if expect == "refused":
            return bool(self.refused)
        if self.refused:
            return False
        return not self.problems or (expect == "damaged" and bool(self.said))


def judge(material: Material, source: bytes, result: bytes, said: list[str], chunks: int) -> Outcome:
    """Compare a result with its source."""
    lossless = material.codec == "ffv1"
    verdict = compare(source, result, lossless, material.codec, joined=material.expect == "joined")
    return Outcome(verdict.frames, chunks, verdict.timing, verdict.streams, verdict.problems, said)


def local(material: Material, folder: Path, chunk_frames: int) -> Outcome:
    """Restore one material in this process."""
    data = material.make()
    source = folder / f"{material.name}.{material.suffix}"
    source.write_bytes(data)
    spec = Spec(model="identity", codec=material.codec, chunk_frames=chunk_frames)
    try:
        done = restore(source, f"result.{material.target}", spec, folder)
    except RespoolError as error:
        return Outcome(refused=str(error))
    said = done.notes + merged(note for result in done.results for note in result.notes)
    said += [f"frames from {f}: {r}" for f, _, r in done.damage]
    return judge(material, data, done.data, said, len(done.index.chunks))


def system(r: Rig, materials: Sequence[Material], folder: Path) -> dict[str, Outcome]:
    """Restore `materials` through a running cluster, one job for each codec and target, in chunks of 16 frames."""
    outcomes: dict[str, Outcome] = {}
    kinds = sorted({(m.codec, m.target) for m in materials})
    for codec, target in kinds:
        group = [m for m in materials if (m.codec, m.target) == (codec, target)]
        sources = folder / f"{codec}-{target}"
        sources.mkdir()
        for material in group:
            (sources / f"{material.name}.{material.suffix}").write_bytes(material.make())
        spec = Spec(model="identity", codec=codec, chunk_frames=16, container=target)
        job = submit([sources], spec, r.settings).job
        manifest = r.finish(job.id, 600)
        fetched = r.jobs.fetch(job.id, lambda file: folder / "results" / file.name)
        paths = {p.stem: p for p in fetched[: len(manifest.files)]}  # captions and time code follow, by the same stem
        failures = {Path(f.name).stem: f.reason for f in manifest.failures}
        plan = r.records.plan(job.id)
        assert plan is not None
        for item in job.items:
            name = Path(item.name).stem
            material = next(m for m in group if m.name == name)
            said = [
                note
                for note in manifest.notes
                if item.name in note or not note.startswith(tuple(i.name for i in job.items))
            ]
            said += [d.reason for d in manifest.damage if d.item == item.n]
            if name in paths:
                chunks = sum(c.item == item.n for c in plan.chunks)
                data = (sources / item.name).read_bytes()
                outcomes[name] = judge(material, data, paths[name].read_bytes(), said, chunks)
            else:
                outcomes[name] = Outcome(refused=failures.get(name, ""))
    return outcomes
