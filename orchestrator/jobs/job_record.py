"""A finished job's provenance in the store: its records, sources, results, bag, report and change maps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from contract import keys
from contract.errors import BadInput, IntegrityError, RespoolError, UsageError
from contract.job import Manifest
from contract.settings import Settings
from orchestrator.comparison.before_after import Pair, pairs, pairs_at
from orchestrator.comparison.change_map import change
from orchestrator.comparison.report import RepairPair, report
from orchestrator.film_repairs import UNITS
from orchestrator.job_store import Records
from orchestrator.provenance.bag import write_bag
from orchestrator.result_record import FileFacts, Record, from_lines
from stores.atomic_files import ended, replacing
from stores.storage import Storage
from stores.verified import fetch_result, fetch_verified


class Trail:
    """Reader of one store. Results and sources are verified against their hashes as they are fetched."""

    def __init__(self, settings: Settings) -> None:
        self._storage = Storage(settings)
        self._records = Records(self._storage)
        self._scratch = settings.scratch if settings.scratch != Path() else None

    def records(self, job: str) -> list[Record]:
        """Read the records of a job's results; raise UsageError for a job that has not ended or is unknown."""
        data = self._storage.find(keys.records(job))
        if data is None:
            self._manifest(job)
            raise UsageError(
                f"job {job} has no records: it was finished by an older Respool; `respool retry` makes none either."
            )
        return from_lines(data)

    def known(self, job: str) -> list[Record]:
        """Read the records as `records` does; an empty list where there are none."""
        data = self._storage.find(keys.records(job))
        return [] if data is None else from_lines(data)

    def bag(self, job: str, folder: Path) -> Path:
        """Write a BagIt bag of the job's results, and of mask films, into `folder`."""
        return write_bag(folder, self.records(job), self._fetch)

    def report(self, job: str, count: int) -> bytes:
        """Build the job's report page with up to `count` pairs: one of each image, several of a job's only film."""
        told = self.records(job)
        with tempfile.TemporaryDirectory(prefix="respool-", dir=self._scratch) as folder:
            shown = self._pairs(told, count, Path(folder))
            repaired = self._repaired(told, count, Path(folder))
            return report(self._records.job(job), self._manifest(job), told, shown, repaired)

    def change_map(self, record: Record, result: Path) -> list[Path]:
        """Write PNG maps of where `result` differs from plain resampling beside it: one of an image, four of a film.

        A film that filters over time changed has one more for each filter, of the frame that it changed most, named by the filter.
        """
        made = []
        with tempfile.TemporaryDirectory(prefix="respool-", dir=self._scratch) as folder:
            source = Path(folder) / "source"
            self.fetch_source(record, source)
            found = list(pairs(source, result, 4, record.source.name, record.piece, record.wanted))
            shown = [(f".{n}" if len(found) > 1 else "", pair) for n, pair in enumerate(found, 1)]
            most = {one.filter: one.largest[0].frame for one in record.repairs if one.largest and one.filter in UNITS}
            at = sorted(set(most.values()))
            frames = record.repairs[0].frames if at else 0
            repaired = dict(
                zip(at, pairs_at(source, result, at, frames, record.piece, record.wanted) if at else (), strict=False)
            )
            shown += [(f".{name}", repaired[frame]) for name, frame in most.items() if frame in repaired]
            for number, pair in shown:
                path = result.with_name(ended(result.name, f".change{number}.png"))
                with replacing(path) as part:
                    change(pair).map.pngsave(str(part), keep="none")
                made.append(path)
        return made

    def fetch_result(self, record: Record, path: Path) -> None:
        """Download the record's result to `path`; raise IntegrityError for other bytes than the recorded ones."""
        self._fetch(record, record.result, path)

    def _fetch(self, record: Record, facts: FileFacts, path: Path) -> None:
        fetch_result(self._storage, keys.result_file(record.job, facts.name), facts.name, facts.sha256, path)

    def fetch_source(self, record: Record, path: Path) -> None:
        """Download the record's source to `path`; raise IntegrityError for other bytes than the submitted ones."""
        source = record.source

        def refusal(found: str) -> RespoolError:
            return IntegrityError(
                f"the stored source of {source.name} has SHA-256 {found}, not {source.sha256} as submitted; submit it again."
            )

        fetch_verified(self._storage, keys.source(record.job, record.item), path, source.sha256, refusal)

    def _manifest(self, job: str) -> Manifest:
        self._records.job(job)
        manifest = self._records.manifest(job)
        if manifest is None:
            raise UsageError(f"job {job} has not ended; `respool watch {job}` follows it.")
        return manifest

    def _pairs(self, told: list[Record], count: int, folder: Path) -> Iterator[Pair]:
        """Yield pairs evenly spread over the job's results; skip a result that cannot be shown (its source is broken)."""
        chosen = told if len(told) <= count else [told[n * len(told) // count] for n in range(count)]
        each = max(1, count // max(1, len(chosen)))
        for record in chosen:
            source, result = folder / "source", folder / "result"
            self.fetch_source(record, source)
            self.fetch_result(record, result)
            try:
                yield from pairs(source, result, each, record.source.name, record.piece, record.wanted)
            except BadInput:
                continue

    def _repaired(self, told: list[Record], count: int, folder: Path) -> Iterator[RepairPair]:
        """Yield the largest repairs of films, up to `count`: the largest of each filter first."""
        left = count
        for record in told:
            ranked = [(n, one, large) for one in record.repairs for n, large in enumerate(one.largest)]
            ranked.sort(key=lambda found: found[0])
            chosen = sorted(ranked[:left], key=lambda found: found[2].frame)
            if not chosen:
                continue
            source, result = folder / "source", folder / "result"
            self.fetch_source(record, source)
            self.fetch_result(record, result)
            at = sorted({large.frame for _, _, large in chosen})
            try:
                shown = pairs_at(source, result, at, chosen[0][1].frames, record.piece, record.wanted)
                found = dict(zip(at, shown, strict=False))
            except BadInput:
                continue
            for _, one, large in chosen:
                if large.frame in found:
                    left -= 1
                    yield RepairPair(record.source.name, one, large, found[large.frame])
