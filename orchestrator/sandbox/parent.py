"""Planning, ingest and assembly in processes of their own that parse untrusted media, have limits, and can be killed.

One process executes one order and ends. The next one is started at once and waits with everything imported, so that an
order costs no start; a command starts none ahead. See orchestrator/sandbox/child.py for the other side.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from contract import errors
from contract.documents import decode
from contract.errors import BadInput, Interrupted, PermanentError, RespoolError
from contract.evidence import Evidence, LookOrder
from contract.film import FilmIndex
from contract.job import Item, Spec
from contract.programs import Program
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.sandbox.process import MediaProcess
from stores.item_kills import ItemKills
from stores.lending.rights import Act, Rights
from stores.limits import memory_limit
from stores.storage import Storage
from weights.catalog import job_scale

_LOOK_S = 0.25
_KILLED = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
"""Signals that another process sent; they say nothing about the source."""

_FIRST_WAIT_S = 1.0
_KILLS = 3
"""Times that a process may be killed over one item before the item is refused."""

_CRASHES = 20
"""Sources of one job that may each kill a process before the job is given up."""


class Crashed(PermanentError):
    """Raised when a process ended in the middle of an order; `item` is its current one, None when there was none.

    `sure` means that a second try would end the same way: a limit was reached.
    """

    def __init__(self, message: str, item: int | None = None, *, sure: bool = True) -> None:
        super().__init__(message, item)
        self.message, self.item, self.sure = message, item, sure

    def __str__(self) -> str:
        return self.message


class Killed(Interrupted):
    """Raised when another process, most often the kernel for want of memory, killed the one that read `item`."""

    def __init__(self, message: str, item: int | None = None) -> None:
        super().__init__(message, item)
        self.message, self.item = message, item

    def __str__(self) -> str:
        return self.message


class Confined:
    """Executor of orders, each in a process of its own. Safe to share between threads. `close` it at the end."""

    def __init__(self, settings: Settings, ahead: bool = True, kills: ItemKills | None = None) -> None:
        """With `ahead` the next process is started before it is needed; `kills` counts across orchestrators."""
        self._settings, self._ahead, self._kills = settings, ahead, kills
        self._lock = threading.Lock()
        self._spare: MediaProcess | None = None
        self._closed = False
        self._prepare()

    def close(self) -> None:
        """End the waiting process; running ones are ended by their own checkpoints."""
        with self._lock:
            self._closed = True
            if self._spare is not None:
                self._spare.end()
                self._spare = None

    def run(self, act: Act, job: str, checkpoint: Callable[[], None]) -> None:
        """Do an act to its end. `checkpoint` is called several times a second, and raises to have the process killed.

        It is also called before each change of the store, from several threads: a process of another orchestrator may have
        taken over while this one slept.

        Raises what the act raised, Interrupted when somebody killed its process, and PermanentError when the process
        could not bear the sources one after the other; a single source that kills it is refused with the reason, after
        a second try where the first may have been bad luck. One over which processes are killed is refused after _KILLS
        of them, with a pause between them, also when this process is killed with them.
        """
        refused: dict[int, str] = {}
        unlucky: set[int] = set()
        killed: Counter[int] = Counter()
        store = Storage(self._settings)  # the process has no keys; it asks for each object
        while True:
            if act == "ingest":
                before = killed if self._kills is None else Counter(self._kills.counts(job)) | killed
                refused |= {item: self._killed(times) for item, times in before.items() if times >= _KILLS}
            try:
                return self._once(act, job, store, refused, checkpoint)
            except Killed as kill:
                if act != "ingest" or kill.item is None or kill.item in refused:
                    raise
                killed[kill.item] += 1
                if killed[kill.item] < _KILLS:
                    _pause(_FIRST_WAIT_S * 2 ** killed[kill.item], checkpoint)
            except Crashed as crash:
                if act == "assemble" or crash.item is None or crash.item in refused or len(refused) >= _CRASHES:
                    raise
                if crash.sure or crash.item in unlucky:
                    refused[crash.item] = str(crash)
                unlucky.add(crash.item)

    def plan(self, path: Path, item: Item, spec: Spec, scale: int) -> FilmIndex:
        """Return the index of the film at `path`; raise what `ingest.film.plan_film` raises.

        Also raises BadInput for a source that crashed its process, and OSError for a file that cannot be opened.
        """
        order = msgspec.json.encode({"act": "plan", "scale": scale, "film": {"item": item, "spec": spec}})
        try:
            last = self._order(order, lambda child: child.lend_film(path), lambda: None)
        except Crashed as crash:
            raise BadInput(f"{item.name} cannot be read: {crash}") from crash
        return decode(str(last["index"]).encode(), FilmIndex, item.name)

    def look(self, path: Path, order: LookOrder) -> Evidence:
        """Return what filters over time would change in the film at `path`; their libraries run in a process like the others.

        Raises BadInput where nothing of it could be looked at, and OSError for a file that cannot be opened.
        """
        try:
            child = MediaProcess(self._settings, Program.FILM_EVIDENCE)
            last = self._executed(child, msgspec.json.encode(order), lambda own: own.lend_film(path), lambda: None)
        except Crashed as crash:
            raise BadInput(f"{order.name} cannot be looked at: {crash}") from crash
        return decode(str(last["evidence"]).encode(), Evidence, order.name)

    def mechanisms(self) -> list[str]:
        """Return the mechanisms by which the kernel confines a process of this system, as one of them reports."""
        return msgspec.convert(
            self._order(msgspec.json.encode({"act": "none"}), lambda _: None, lambda: None)["confined"], list[str]
        )

    def _once(
        self, act: Act, job: str, store: Storage, refused: dict[int, str], checkpoint: Callable[[], None]
    ) -> None:
        begun: list[int] = []

        def begin(item: int) -> None:
            if self._kills is not None and act == "ingest":
                for earlier in begun:
                    self._kills.end(job, earlier)
                self._kills.begin(job, item)
            begun[:] = [item]

        scale = 1 if act == "witness" else job_scale(Records(store).job(job).spec, self._settings)
        order = {"act": act, "job": job, "refused": refused, "bucket": store.bucket, "scale": scale}
        try:
            self._order(
                msgspec.json.encode(order),
                lambda child: child.lend_store(store, Rights(act, job), checkpoint),
                checkpoint,
                begin,
            )
        except Killed:
            begun.clear()
            raise
        finally:  # also when it was told to stop; a process that is killed itself leaves the count
            if self._kills is not None:
                for item in begun:
                    self._kills.end(job, item)

    @staticmethod
    def _killed(times: int) -> str:
        return (
            f"the process that reads it was killed {times} times, most likely because memory ran out; give the "
            "orchestrator more memory, or lower RESPOOL_MEDIA_MEMORY to learn what it needs."
        )

    def _order(
        self,
        order: bytes,
        lend: Callable[[MediaProcess], None],
        checkpoint: Callable[[], None],
        begin: Callable[[int], None] = lambda _: None,
    ) -> dict[str, object]:
        """Execute one order in a process of its own that has what `lend` gives it; return its last message.

        `begin` hears of each item.
        """
        return self._executed(self._take(), order, lend, checkpoint, begin)

    def _executed(
        self,
        child: MediaProcess,
        order: bytes,
        lend: Callable[[MediaProcess], None],
        checkpoint: Callable[[], None],
        begin: Callable[[int], None] = lambda _: None,
    ) -> dict[str, object]:
        """Let `child` execute an order, and end it."""
        try:
            lend(child)
            child.order(order)
            return self._conclude(child, self._listen(child, checkpoint, begin))
        except BrokenPipeError as error:  # it ended before it got the order
            raise Interrupted(
                "The process that reads the sources ended before it had begun; it is started again."
            ) from error
        finally:
            child.end()

    def _listen(
        self, child: MediaProcess, checkpoint: Callable[[], None], begin: Callable[[int], None]
    ) -> list[dict[str, object]]:
        """Collect the messages of the process until it closes its end; `checkpoint` is called meanwhile."""
        said = bytearray()
        last = -1
        with selectors.DefaultSelector() as selector:
            selector.register(child.answers, selectors.EVENT_READ)
            while True:
                if selector.select(_LOOK_S):
                    part = os.read(child.answers.fileno(), 1 << 16)
                    if not part:
                        break
                    said += part
                    item = _item(bytes(said))
                    if item is not None and item != last:
                        last = item
                        begin(item)
                checkpoint()
        return [json.loads(line) for line in said.splitlines()]

    def _conclude(self, child: MediaProcess, said: list[dict[str, object]]) -> dict[str, object]:
        """Return its last message when the order succeeded; raise the error that it reported, or one for its end."""
        last = said[-1] if said else {}
        if last.get("ended"):
            return last
        items = [number for message in said if isinstance(number := message.get("item"), int)]
        item = items[-1] if items else None
        if "error" in last:
            kind = getattr(errors, str(last["error"]), None)
            if isinstance(kind, type) and issubclass(kind, RespoolError):
                raise kind(str(last["message"]))
            limit = memory_limit(self._settings) / (1 << 30)
            raise Crashed(f"it needs more than {limit:.1f} GB of memory to be read; raise RESPOOL_MEDIA_MEMORY.", item)
        code = child.process.wait()
        if -code in _KILLED:
            raise Killed("The process that reads the sources was killed from outside; it is started again.", item)
        if -code == signal.SIGXCPU:
            limits = self._settings
            raise Crashed(
                f"reading it takes more than {limits.media_step_s:g} s of processor time at one place, or {limits.media_cpu_s:g} s "
                "in all; raise RESPOOL_MEDIA_STEP_S or RESPOOL_MEDIA_CPU_S.",
                item,
            )
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise Crashed(
            f"reading it ended the process that did ({name}); check the file, and the orchestrator's log.",
            item,
            sure=False,
        )

    def _take(self) -> MediaProcess:
        """Take the waiting process; another one is started in its place."""
        with self._lock:
            child, self._spare = self._spare, None
        if child is None or child.process.poll() is not None:
            if child is not None:
                child.end()
            child = MediaProcess(self._settings)
        self._prepare()
        return child

    def _prepare(self) -> None:
        with self._lock:
            if self._ahead and self._spare is None and not self._closed:
                self._spare = MediaProcess(self._settings)


def _item(said: bytes) -> int | None:
    """Return the last item that whole lines of `said` name."""
    for line in reversed(said[: said.rfind(b"\n") + 1].splitlines()):
        item = json.loads(line).get("item")
        if isinstance(item, int):
            return item
    return None


def _pause(seconds: float, checkpoint: Callable[[], None]) -> None:
    """Wait with jitter, and stop as `checkpoint` says."""
    until = time.monotonic() + random.uniform(seconds / 2, seconds)  # noqa: S311 - jitter, not a secret
    wait = threading.Event()
    while time.monotonic() < until:
        checkpoint()
        wait.wait(min(_LOOK_S, max(0.0, until - time.monotonic())))
