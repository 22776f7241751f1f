"""Assembly of a job: every item put together and verified, then one manifest."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from contract import keys
from contract.documents import decode, raw
from contract.errors import IntegrityError, LeaseLost, PermanentError, Unsettled, UsageError
from contract.film import FilmIndex, ImageSequence
from contract.job import Damage, Done, Item, ItemFailure, Job, Manifest, Output, Plan, ResultFile
from contract.piece import Piece
from contract.provenance import Making, making
from contract.severity import about, losses, marked, plain, refusal
from media.frame_changes import merged
from orchestrator.assemble.captions import read_captions
from orchestrator.assemble.commits import Commits
from orchestrator.assemble.film import assemble_film
from orchestrator.assemble.image import assemble_image
from orchestrator.assemble.masks import MaskAssembly
from orchestrator.assemble.result_copies import Copy, ResultCopies
from orchestrator.assemble.sidecars import sidecars, twin_name
from orchestrator.assemble.verify import check_frames, verify_film
from orchestrator.ingest.job import open_source
from orchestrator.job_store import ChunkObjects, Records
from orchestrator.mask_names import mask_name
from orchestrator.past_pace import RECORD, work_done
from orchestrator.provenance.record import records
from orchestrator.result_record import to_lines
from orchestrator.witness.delivery_check import Delivery
from orchestrator.witness.film_check import witness_decoding, witness_result
from orchestrator.witness.likeness_check import coarse_pictures
from stores.commits import sweep
from stores.scratch import own_folder
from stores.verified import fetch_output

logger = logging.getLogger(__name__)

_MADE_ON = ("device", "precision", "backend")


class Assembly:
    """Content of one manifest. Each step may be repeated; only the manifest counts.

    `scale` is the factor of the job's generator, `scratch` where results are put together (None: the temporary folder).
    """

    def __init__(self, job: Job, plan: Plan, records: Records, scale: int, scratch: Path | None = None) -> None:
        self._job, self._plan, self._records, self._scale, self._scratch = job, plan, records, scale, scratch
        self._storage = records.storage
        self._files: list[ResultFile] = []
        self._sidecars: list[ResultFile] = []
        self._failures = list(plan.failures)
        self._damage: list[Damage] = []
        self._refused: dict[int, str] = {}  # items that --strict does not deliver, and why
        self._notes = marked(job.notes, job.losses)
        self._opening = 0
        self._witness: dict[int, dict[str, object]] = {}
        self._pieces: dict[int, Piece] = {}
        self._objects: ChunkObjects
        self._commits: Commits
        """All that were read, by chunk: the records at the end tell of them."""
        self._copies: ResultCopies

    def run(self, checkpoint: Callable[[], None]) -> Manifest:
        """Put every item together and write the manifest, unless another process has; return the one that counts.

        Raises Unsettled when S3 lacks the end of a chunk.
        """
        self._objects = objects = self._records.chunk_objects(self._job.id, self._plan)
        if (there := len(objects.done) + len(objects.failed)) < (whole := len(self._plan.live)):
            raise Unsettled(
                f"S3 has the end of {there} of {whole} chunks of job {self._job.id}; its ledger is rebuilt."
            )
        with (
            own_folder(self._scratch) as folder,
            Commits(self._records, self._plan, objects, folder) as self._commits,
        ):
            return self._assembled(checkpoint)

    def _assembled(self, checkpoint: Callable[[], None]) -> Manifest:
        done = self._objects.done
        self._opening = self._records.control(self._job.id).retries
        self._copies = ResultCopies(self._storage, self._job.id, self._objects, self._opening > 0)
        images: list[int] = []
        copies: list[Copy] = []
        films: dict[int, list[int]] = {}  # and images so large that several chunks make one
        for chunk in self._plan.live:
            if chunk.kind == "video" or chunk.bands > 1:
                films.setdefault(chunk.item, []).append(chunk.n)
            elif chunk.n in done:
                images.append(chunk.n)
            else:
                reason = self._reason(chunk.n)
                members = self._job.items[chunk.first : chunk.first + chunk.count]
                self._failures += [ItemFailure(item.n, item.name, reason) for item in members]
        whole = [n for chunks in films.values() if done.keys() >= set(chunks) for n in chunks]
        self._commits.read([*images, *whole], checkpoint)
        for commit in self._read_images(images):
            checkpoint()
            self._failures += commit.failures
            self._damage += commit.damage
            self._notes += marked(commit.notes, commit.losses)
            copies += [
                (item := self._job.items[output.item], item.result, output.key, output.sha256, output.size)
                for output in commit.outputs
            ]
        self._copy(copies, checkpoint)
        for number, chunks in films.items():
            checkpoint()
            item = self._job.items[number]
            lost = [n for n in chunks if n not in done]
            if lost:  # what is committed stays for a retry
                reason = f"{len(lost)} of {len(chunks)} chunks failed; the first: {self._reason(lost[0])}"
                self._failures.append(ItemFailure(item.n, item.name, reason))
                continue
            try:
                if item.kind == "image":
                    self._large_image(item, chunks, checkpoint)
                else:
                    self._film(item, chunks, checkpoint)
            except PermanentError as error:
                logger.exception("item cannot be put together", extra={"job": self._job.id})
                self._failures.append(ItemFailure(item.n, item.name, str(error)))
        self._twins(checkpoint)
        sweep(self._storage, self._job.id, self._lost(), checkpoint)
        return self._close()

    def _lost(self) -> dict[int, set[str]]:
        """Return the attempts that may have lost, by chunk: all but those whose commit was read."""
        known, stored = self._commits, self._objects.attempts
        left = {n: set(ids) - ({known[n].attempt} if n in known else set()) for n, ids in stored.items()}
        return {n: ids for n, ids in left.items() if ids}

    def _read_images(self, chunks: Sequence[int]) -> Iterator[Done]:
        """Yield the commits of chunks of images; one that does not count is a failure of its own images."""
        for n in chunks:
            try:
                yield self._commits[n]
            except (IntegrityError, UsageError) as error:
                chunk = self._plan.chunks[n]
                members = self._job.items[chunk.first : chunk.first + chunk.count]
                self._failures += [ItemFailure(item.n, item.name, str(error)) for item in members]

    def _reason(self, chunk: int) -> str:
        return "; ".join(self._records.failed(self._job.id, chunk).attempts)

    def _copy(self, wanted: list[Copy], checkpoint: Callable[[], None]) -> None:
        """Copy results of items, and files beside them, from the objects of a chunk or an earlier item."""
        for found in self._copies.make(wanted, checkpoint):
            if isinstance(found, ItemFailure):
                self._failures.append(found)
            else:
                own = found.name == self._job.items[found.item].result
                (self._files if own else self._sidecars).append(found)

    def _twins(self, checkpoint: Callable[[], None]) -> None:
        """Give duplicates the result, damage or failure of the earlier item with the same bytes."""
        files = {file.item: file for file in self._files}
        damage: dict[int, list[Damage]] = {}
        failures: dict[int, list[ItemFailure]] = {}
        for hurt in self._damage:
            damage.setdefault(hurt.item, []).append(hurt)
        for failure in self._failures:
            failures.setdefault(failure.item, []).append(failure)
        copies: list[Copy] = []
        said = list(self._notes)
        for twin, first in self._plan.duplicates:
            item, same = self._job.items[twin], self._job.items[first]
            if file := files.get(first):
                copies.append((item, item.result, file.key, file.sha256, file.size))
                for beside in [other for other in self._sidecars if other.item == first]:
                    name = twin_name(beside.name, same.result, item.result)
                    copies.append((item, name, beside.key, beside.sha256, beside.size))
                own = [type(n)(n.removeprefix(f"{same.name}: ")) for n in said if n.startswith(f"{same.name}: ")]
                self._notes += about(f"{item.name}: ", [*own, f"the same bytes as {same.name}, computed once"])
            self._damage += [msgspec.structs.replace(hurt, item=twin) for hurt in damage.get(first, ())]
            self._failures += [ItemFailure(twin, item.name, f.reason) for f in failures.get(first, ())]
        self._copy(copies, checkpoint)

    def _large_image(self, item: Item, chunks: list[int], checkpoint: Callable[[], None]) -> None:
        commits = [self._commits[n] for n in chunks]
        failures = [failure for commit in commits for failure in commit.failures]
        if failures:
            self._failures.append(failures[0])
            return
        with own_folder(self._scratch) as folder:
            out = folder / f"result{Path(item.result).suffix}"
            bands = [self._fetched(c.outputs[0], folder / f"band{n}.tif", checkpoint) for n, c in enumerate(commits)]
            source = self._source(item)
            notes = assemble_image(source, item, self._job.spec, self._scale, bands, out, self._says(item, commits))
            self._store(item, out)
        for commit in commits:
            self._damage += commit.damage
            said = [type(n)(n.removeprefix(f"{item.name}: ")) for n in marked(commit.notes, commit.losses)]
            notes += [note for note in said if note not in notes]
        self._notes += about(f"{item.name}: ", notes)

    def _says(self, item: Item, commits: list[Done]) -> Making:
        """Build the result's provenance record: it names every device, precision and backend that took part."""
        said = {name: [msgspec.json.decode(c.record[name]) for c in commits if name in c.record] for name in _MADE_ON}
        return making(self._job, item, **{name: ", ".join(dict.fromkeys(found)) for name, found in said.items()})

    def _source(self, item: Item) -> io.BufferedReader:
        return io.BufferedReader(open_source(self._storage, self._job, item))

    def _fetched(self, output: Output, path: Path, checkpoint: Callable[[], None]) -> Path:
        """Fetch an output of a commit to a local file; raise IntegrityError when it is not the committed bytes."""
        checkpoint()
        return fetch_output(self._storage, output, path, self._job.id)

    def _parts(self, outputs: Iterable[Output], path: Path, checkpoint: Callable[[], None]) -> Iterator[BinaryIO]:
        """Yield outputs of a film's chunks, each in the file `path` until the next is asked for."""
        for output in outputs:
            with self._fetched(output, path, checkpoint).open("rb") as stream:
                yield stream

    def _still_open(self) -> None:
        """Raise LeaseLost when the job has ended or was opened again since this assembly began: its results are not to be replaced."""
        control = self._records.control(self._job.id)
        if control.retries != self._opening or self._records.manifest(self._job.id, control) is not None:
            raise LeaseLost(f"Another orchestrator has ended job {self._job.id}; this assembly was dropped.")

    def _store(self, item: Item, out: Path) -> None:
        self._still_open()
        self._files.append(self._stored(item, item.result, out))

    def _stored(self, item: Item, name: str, file: Path) -> ResultFile:
        key = keys.result_file(self._job.id, name)
        return ResultFile(item.n, name, key, self._storage.put_file(key, file), file.stat().st_size)

    def _store_beside(self, item: Item, name: str, content: bytes) -> None:
        key = keys.result_file(self._job.id, name)
        self._storage.put(key, content)
        self._sidecars.append(ResultFile(item.n, name, key, hashlib.sha256(content).hexdigest(), len(content)))

    def _film(self, item: Item, chunks: list[int], checkpoint: Callable[[], None]) -> None:
        indexed = dict(self._plan.indexes).get(item.n, "")
        index_key = keys.index(self._job.id, item.n, indexed)
        index = decode(self._storage.get(index_key), FilmIndex, index_key)
        commits = [self._commits[n] for n in chunks]
        check_frames(index, [self._plan.chunks[n] for n in chunks], commits)
        with own_folder(self._scratch) as folder:
            out = folder / f"result{Path(item.result).suffix}"
            parts = self._parts((commit.outputs[0] for commit in commits), folder / "chunk", checkpoint)
            said = msgspec.structs.replace(self._says(item, commits), piece=index.piece)
            stream = self._source(item)
            reorder = max(commit.reorder for commit in commits)
            delivered = sum(commit.frames for commit in commits)
            damage = [Damage(item.n, span.first, span.count, span.reason) for span in index.damage]
            damage += [span for commit in commits for span in commit.damage]
            damage = list(dict.fromkeys(damage))  # a worker reports the container's marks too
            film = (index, indexed)
            checked = witness_decoding(self._job, item, film, commits, damage, self._storage, checkpoint)
            captions = read_captions(stream, index) if index.captions else {}
            made = assemble_film(index, self._job.spec, stream, parts, out, reorder, said, captions)
            verify_film(out, index, self._job.spec, self._source(item), delivered)
            beside = dict(sidecars(self._source(item), index, captions, item.result))
            delivery = Delivery(out, delivered, made.fewer, beside, coarse_pictures(commits))
            read_back = witness_result(self._job, item, film, delivery, self._storage, checkpoint)
            masks, shown = folder / "masks.mkv", dict[str, object]()
            if self._job.spec.masks:
                mask_film = MaskAssembly(self._job, item, film, self._storage, lambda: self._source(item))
                shown = mask_film.write(masks, commits, self._parts, checkpoint)
            self._store(item, out)
            for name, content in beside.items():
                self._store_beside(item, name, content)
            if self._job.spec.masks:
                self._sidecars.append(self._stored(item, mask_name(item.result), masks))
        if index.piece is not None:
            self._pieces[item.n] = index.piece
        self._damage += damage
        self._witness[item.n] = checked.record | ({"result": read_back} if read_back else {}) | shown
        notes = made.notes + checked.notes
        notes += merged(note for commit in commits for note in marked(commit.notes, commit.losses))
        whose = f"{item.name}: " if len(self._job.items) > 1 else ""
        self._notes += dict.fromkeys(about(whose, notes))
        if self._job.spec.strict and (why := refusal(item.name, notes)):
            self._refused[item.n] = why

    def _write_records(self, manifest: Manifest) -> None:
        """Write the record of each result before the manifest: an ended job has its records."""
        known = self._sequences(), self._witness, self._pieces
        lines = to_lines(records(self._job, self._plan, self._commits, manifest, *known))
        self._still_open()
        self._storage.put(keys.records(self._job.id), b"".join(lines))

    def _sequences(self) -> dict[int, ImageSequence]:
        """Read the numbered images of films that were submitted as such, by item."""
        found = {}
        for item in self._job.items:
            key = keys.sequence(self._job.id, item.n)
            if item.kind == "video" and (data := self._storage.find(key)) is not None:
                found[item.n] = decode(data, ImageSequence, key)
        return found

    def _close(self) -> Manifest:
        for hurt in self._damage if self._job.spec.strict else ():
            self._refused.setdefault(hurt.item, f"--strict: frames {hurt.first} and on are damaged: {hurt.reason}")
        self._failures += [ItemFailure(n, self._job.items[n].name, why) for n, why in self._refused.items()]
        self._files = [f for f in self._files if f.item not in self._refused]
        manifest = Manifest(
            job=self._job.id,
            state="failed" if self._failures else "done",
            files=tuple(self._files),
            failures=tuple(self._failures),
            damage=tuple(self._damage),
            notes=plain(self._notes),
            losses=losses(self._notes),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            record={RECORD: raw(work_done(self._job, self._scale, self._commits.values()))},
            opening=self._opening,
            sidecars=tuple(s for s in self._sidecars if s.item in {f.item for f in self._files}),
        )
        self._write_records(manifest)
        return self._records.end(manifest)
