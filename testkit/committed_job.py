"""A job of images, each a chunk, that a test commits and ends step by step over a real store and Redis."""

from __future__ import annotations

import hashlib

from contract import keys
from contract.documents import encode
from contract.job import Chunk, Control, Done, Item, Job, Manifest, Output, Plan, Spec
from contract.job_ids import job_id
from contract.settings import Settings
from orchestrator.assemble.job import Assembly
from orchestrator.job_store import Records
from stores import commit_log
from stores.ledger import Ledger
from stores.storage import Storage

COUNT = 30


class Counting(Storage):
    """A real store that keeps lists of the commits that were asked for one by one, and of what was copied."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []
        self.copied: list[str] = []

    def tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Read an object, and note a commit."""
        if key.endswith("/done.json"):
            self.asked.append(key)
        return super().tagged(key, limit)

    def copy(self, source: str, target: str, size: int) -> None:
        """Copy an object, and note its target."""
        self.copied.append(target)
        super().copy(source, target, size)


class CommittedJob:
    """A planned job of COUNT images of a chunk each, whose commits workers hand to the ledger."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.storage = Counting(settings)
        self.records, self.ledger, self._settings = Records(self.storage), Ledger(settings), settings
        items = tuple(Item(n, "image", f"{name}{n}.png", f"{name}{n}.png", f"{n:064x}", 3) for n in range(COUNT))
        self.spec = Spec(model="identity")
        self.job = Job(job_id(self.spec, items), self.spec, items, "2026-01-01T00:00:00+00:00")
        chunks = tuple(Chunk(n, "image", 0, n, 1, items[n].name, input=f"{n:064x}") for n in range(COUNT))
        self.plan = Plan(self.job.id, chunks)
        self.storage.put(keys.job_spec(self.job.id), encode(self.job))
        self.storage.put(keys.plan(self.job.id), encode(self.plan))
        self.ledger.create(self.plan, 4, Control(), {}, ())

    def done(self, n: int, attempt: str = "1-0123abcd", picture: bytes | None = None) -> Done:
        """Store the result of an attempt; return its commit."""
        chunk, key = self.plan.chunks[n], keys.attempt_image(self.job.id, n, attempt, n)
        made = picture or b"picture %d" % n
        self.storage.put(key, made)
        output = Output(n, key, hashlib.sha256(made).hexdigest(), len(made), 1, 2, 2)
        return Done(n, attempt, "w", 1, (output,), work=chunk.work(self.job.id), first=n, count=1)

    def commit(self, n: int, settle: bool = True) -> Done:
        """Commit a chunk, as a worker does."""
        done = self.done(n)
        assert self.storage.put(keys.done(self.job.id, n), encode(done), if_absent=True)
        if settle:
            self.ledger.settle(self.job.id, n, "done", 1, encode(done))
        return done

    def save(self) -> None:
        """Move all copies to S3."""
        commit_log.save(self.storage, self.ledger, self.job.id, least=1)

    def end(self) -> Manifest:
        """Assemble; what was asked for and copied before is forgotten."""
        self.storage.asked.clear()
        self.storage.copied.clear()
        return Assembly(self.job, self.plan, self.records, 1, self._settings.scratch).run(lambda: None)

    def asked(self) -> set[int]:
        """Return the chunks whose commits were asked for."""
        prefix = f"{keys.job_prefix(self.job.id)}chunks/"
        return {int(key.removeprefix(prefix).partition("/")[0]) for key in self.storage.asked}

    def remove(self) -> None:
        """Let no orchestrator of another test find it open."""
        self.storage.delete(keys.job_spec(self.job.id))
        self.ledger.forget(self.job.id)
