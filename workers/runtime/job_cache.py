"""The worker's cache between chunks: job files, weights on disk, and the loaded generator."""

from __future__ import annotations

import gc
import hashlib
import tempfile
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contract import keys
from contract.documents import decode, encode
from contract.errors import CannotServe, Newer, RespoolError, UsageError, WeightsError
from contract.job import Chunk, Item, Job, Plan, Spec, Weights
from contract.method import Method
from contract.settings import Settings
from stores.atomic_files import replacing
from stores.file_digest import file_sha256
from stores.scratch import OwnFolder, sweep
from stores.storage import Storage
from stores.verified import fetch_source, fetch_verified
from workers.runtime.card_encoders import CardEncoders

if TYPE_CHECKING:
    from workers.faces.enhance import FaceRestorer
    from workers.generators.enhancer import Enhancer

_KEPT_JOBS = 4


@dataclass(frozen=True)
class JobFile:
    """A job and its plan, as read from S3. The job is immutable; a retry may extend the plan."""

    job: Job
    plan: Plan

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the plan."""
        return self.plan.fingerprint()

    def chunk(self, n: int) -> Chunk:
        """Return chunk `n`; raise UsageError if the plan has no such chunk."""
        if not 0 <= n < len(self.plan.chunks):
            raise UsageError(
                f"job {self.job.id} has {len(self.plan.chunks)} chunks and no chunk {n}; ignore the message."
            )
        return self.plan.chunks[n]


def _import_generators() -> None:
    """Import what every generator needs, without looking for garbage meanwhile.

    The imports make some 500,000 objects that stay. To traverse them again and again takes an eighth of their time, and would take
    a tenth of a second at each later full collection.
    """
    gc.disable()
    try:
        import workers.generators.registry  # noqa: F401

        gc.freeze()
    finally:
        gc.enable()


class JobCache:
    """The cache of one worker process; not thread-safe apart from `preload`, `own` and `held`."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings, self._storage = settings, storage
        self._jobs: OrderedDict[str, tuple[str, JobFile]] = OrderedDict()
        """Jobs by id, each with the SHA-256 of the plan that it was read with."""
        self._methods: dict[str, Method] = {}
        self._enhancer: Enhancer | None = None
        self._enhancer_key = b""
        self._faces: FaceRestorer | None = None
        self._faces_key = b""
        self.scratch = settings.scratch if settings.scratch != Path() else Path(tempfile.gettempdir())
        self.scratch.mkdir(parents=True, exist_ok=True)
        sweep(self.scratch)
        self._own: OwnFolder | None = None
        self._making = threading.Lock()
        self._kept_key = ""
        self.encoders = CardEncoders(storage)

    @property
    def own(self) -> Path:
        """The folder in scratch space that this process uses alone, made again if it was removed."""
        with self._making:
            if self._own is None or not self._own.path.is_dir():
                self._own = OwnFolder(self.scratch)
                weakref.finalize(self, self._own.remove)
                self._kept_key = ""
            return self._own.path

    def preload(self) -> None:
        """Import torch in parallel with the first fetch, if the settings ask for it."""
        self.encoders.look()
        if not self._settings.preload:
            return
        threading.Thread(target=_import_generators, name="preload", daemon=True).start()

    def knows(self, job: str) -> bool:
        """Return whether the job and a plan of it are cached."""
        return job in self._jobs

    def job(self, job: str, plan: str = "") -> JobFile:
        """Return the job and its plan; raise Missing if there is none.

        Without a request where the cached plan has the fingerprint `plan`, else as S3 has it now.
        """
        known = self._jobs.get(job)
        if known is None or not plan or known[1].fingerprint != plan:
            try:
                known = self._jobs[job] = self._read(job, known)
            except Newer:
                self._jobs.pop(job, None)  # the next message of the job is not even claimed
                raise
            if len(self._jobs) > _KEPT_JOBS:
                self._jobs.popitem(last=False)
        self._jobs.move_to_end(job)
        return known[1]

    def _read(self, job: str, known: tuple[str, JobFile] | None) -> tuple[str, JobFile]:
        key = keys.plan(job)
        stat = self._storage.stat(key)
        if known is not None and stat and stat[1] == known[0]:
            return known
        body = self._storage.get(key)
        spec = decode(self._storage.get(keys.job_spec(job)), Job, keys.job_spec(job))
        return hashlib.sha256(body).hexdigest(), JobFile(spec, decode(body, Plan, key))

    def banded_source(self, job: str, item: Item) -> Path:
        """Return the source of a large image, kept for its next band, which would otherwise fetch the whole source again.

        Raises BadInput when the stored source does not have the submitted hash.
        """
        path = self.own / "source"
        if item.sha256 != self._kept_key:
            self._kept_key = ""
            fetch_source(self._storage, job, item, path)
            self._kept_key = item.sha256
        return path

    def enhancer(self, job: str, spec: Spec) -> Enhancer:
        """Return the loaded generator that `spec` pins, computing as the job was begun; another that was loaded is freed.

        The first worker of a job decides that for all. Raises CannotServe when this one cannot do it.
        """
        method = self._method(job)
        found = self._loaded(spec, method)
        if method is None and any(weights.role == "generator" for weights in spec.weights):
            own = Method(found.backend, found.precision)
            if self._storage.put(keys.method(job), encode(own), if_absent=True):
                self._methods[job] = own
            else:
                found = self._loaded(spec, self._method(job))  # another worker was faster
        return found

    def _method(self, job: str) -> Method | None:
        """Return how the job's network is computed; None until a worker has loaded it."""
        if job not in self._methods:
            key = keys.method(job)
            body = self._storage.find(key)
            if body is None:
                return None
            self._methods[job] = decode(body, Method, key)
            if len(self._methods) > _KEPT_JOBS:
                self._methods.pop(next(iter(self._methods)))
        return self._methods[job]

    def _loaded(self, spec: Spec, method: Method | None) -> Enhancer:
        key = msgspec.json.encode((spec.model, spec.scale, spec.weights, spec.denoise, spec.precision, spec.tile))
        held = self._enhancer if key == self._enhancer_key else None
        if held is None or (method is not None and not method.allows(held.backend, held.precision)):
            self._enhancer = None
            self._enhancer = held = self._load(spec, method)
            self._enhancer_key = key
        return held

    def _load(self, spec: Spec, method: Method | None) -> Enhancer:
        from workers.generators.registry import load

        paths = {weights.sha256: self._weights(weights) for weights in spec.weights}
        if method is None:
            return load(spec, paths, self._settings)
        settings = self._settings
        if method.precision != "fp32" and settings.backend in ("auto", method.backend):
            settings = replace(settings, backend=method.backend)
        try:
            made = load(msgspec.structs.replace(spec, precision=method.precision), paths, settings)
        except UsageError as error:
            raise CannotServe(f"the job was begun in {method}, which this worker cannot compute: {error}") from error
        if not method.allows(made.backend, made.precision):
            raise CannotServe(
                f"the job was begun in {method}, and this worker computes in {made.backend} {made.precision}; set its backend to auto."
            )
        return made

    def faces(self, spec: Spec) -> FaceRestorer | None:
        """Return the loaded face restorer of `spec`; None if it has no face pass."""
        pinned = [weights for weights in spec.weights if weights.role in ("face", "detector")]
        key = msgspec.json.encode((spec.faces, pinned))
        if spec.faces is not None and (self._faces is None or key != self._faces_key):
            from workers.faces.enhance import load

            paths = {weights.sha256: self._weights(weights) for weights in pinned}
            self._faces = None
            self._faces = load(spec, paths, self._settings)
            self._faces_key = key
        return self._faces if spec.faces is not None else None

    def _weights(self, weights: Weights) -> Path:
        """Return a local file with the pinned hash, fetched if needed; raise WeightsError if the stored hash differs."""
        folder = self._settings.cache / "weights"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{weights.sha256}.{weights.suffix}"
        if path.exists() and file_sha256(path) == weights.sha256:
            return path

        def refusal(found: str) -> RespoolError:
            return WeightsError(
                f"weights {weights.name} in the store have SHA-256 {found}, but the job pins {weights.sha256}; submit the job again."
            )

        with replacing(path) as part:
            key = keys.weights(weights.sha256, weights.suffix)
            fetch_verified(self._storage, key, part, weights.sha256, refusal)
        return path

    def held(self) -> dict[str, object]:
        """Return the loaded model, its device and precision, and the encoders of cards, for the list of workers."""
        held = self._enhancer
        able = self.encoders.told()
        if held is None:
            return {"model": "", "device": "", "precision": "", **able}
        return {"model": held.name, "device": held.device, "precision": held.precision, **able}
