"""A film's whole restoration in one process, without servers: plan, cut, enhance, assemble, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from contract.film import FilmIndex
from contract.job import Damage, Item, Spec
from media.fingerprints import unpack_prints
from orchestrator.assemble.captions import read_captions
from orchestrator.assemble.film import assemble_film
from orchestrator.assemble.masks import mask_index
from orchestrator.assemble.sidecars import sidecars
from orchestrator.assemble.verify import verify_film
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.packet_runs import cut
from orchestrator.witness.decoding_check import check_decoding
from orchestrator.witness.delivery_check import Delivery, check_delivery
from orchestrator.witness.source_reading import read_source
from workers.film.chunk import FilmResult, film_stages
from workers.stages import finished


@dataclass
class Restored:
    """A restored film: its index, bytes, the chunks' results, notes, times of the stages, sidecars and the bytes of its mask film."""

    index: FilmIndex
    data: bytes
    results: list[FilmResult]
    notes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    sidecars: dict[str, bytes] = field(default_factory=dict)
    witnessed: dict[str, object] = field(default_factory=dict)
    """The record of the result's witness."""
    masks: bytes = b""

    @property
    def damage(self) -> list[tuple[int, int, str]]:
        """List all damage as (first frame, count, reason), from the index and from the chunks."""
        spans = [(s.first, s.count, s.reason) for s in self.index.damage]
        return spans + [d for r in self.results for d in r.damage]


def _opened(paths: Iterable[Path]) -> Iterator[BinaryIO]:
    for path in paths:
        with path.open("rb") as stream:
            yield stream


def _witnessed(
    delivery: Delivery, index: FilmIndex, source: BinaryIO, item: Item, spec: Spec, results: list[FilmResult]
) -> dict[str, object]:
    """Check frames and result as assembly does; return the record of the result."""
    if spec.witness == "off":
        return {}
    reading = read_source(source, index, spec.witness, item.name, lambda: None)
    prints = unpack_prints(b"".join(result.prints or b"" for result in results))
    damage = [Damage(0, s.first, s.count, s.reason) for s in index.damage]
    damage += [Damage(0, *found) for result in results for found in result.damage]
    check_decoding(
        index,
        prints,
        damage,
        reading,
        spec.witness,
        lambda: read_source(source, index, spec.witness, item.name, lambda: None, threads=0),
    )
    return check_delivery(delivery, index, source, item, spec.witness, reading.sound)


def restore(
    source: Path,
    result: str,
    spec: Spec,
    folder: Path,
    enhancer: object = None,
    keep: Callable[[int, bytes], None] | None = None,
) -> Restored:
    """Restore `source` as `result` (a file name) in `folder`."""
    clock = time.perf_counter
    with source.open("rb") as file:
        item = Item(0, "video", source.name, result, "0" * 64, source.stat().st_size)
        began = clock()
        index = plan_film(file, item, spec, 1)
        planned = clock()
        results, outs = [], []
        cutting = 0.0
        runs = cut(file, index)
        for n in range(len(index.chunks)):
            t = clock()
            run = next(runs)
            cutting += clock() - t
            if keep:
                keep(n, run)
            (folder / "run").write_bytes(run)
            outs.append(folder / f"chunk-{n}")
            masks = _masks(outs[-1], spec)
            results.append(
                finished(film_stages(folder / "run", spec, enhancer, outs[-1], lambda *_: None, masks=masks))  # type: ignore[arg-type]
            )
        assert next(runs, None) is None
        worked = clock()
        out = folder / result
        captions = read_captions(file, index) if index.captions else {}
        reorder = max(r.reorder for r in results)
        made = assemble_film(index, spec, file, _opened(outs), out, reorder, captions=captions)
        beside = dict(sidecars(file, index, captions, result))
        delivered = sum(r.frames for r in results)
        verify_film(out, index, spec, file, delivered)
        witnessed = _witnessed(
            Delivery(out, delivered, made.fewer, beside, b"".join(r.looks or b"" for r in results)),
            index,
            file,
            item,
            spec,
            results,
        )
        shown = folder / "masks.mkv"
        if spec.masks:
            parts = _opened(_masks(path, spec) or path for path in outs)
            assemble_film(mask_index(index), spec, file, parts, shown, 0)
            verify_film(shown, mask_index(index), spec, file, delivered)
        seconds = {"plan": planned - began, "cut": cutting, "work": worked - planned, "assemble": clock() - worked}
    data, mask_film = out.read_bytes(), shown.read_bytes() if spec.masks else b""
    for path in (*outs, *(_masks(path, spec) or path for path in outs), out, shown, folder / "run"):
        path.unlink(missing_ok=True)
    return Restored(index, data, results, made.notes, seconds, beside, witnessed, mask_film)


def _masks(chunk: Path, spec: Spec) -> Path | None:
    """Return where the mask film of a chunk is written, None where `spec` asks for none."""
    return chunk.with_suffix(".masks") if spec.masks else None
