"""The Celery task, which works on the chunk that its message names. The pool process loads everything heavy once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from celery import shared_task
from celery.signals import worker_process_init, worker_process_shutdown

from contract import logging as log
from contract import tasks
from contract.errors import RespoolError, UsageError
from contract.settings import Settings, load
from stores.metrics_server import served
from stores.processes import die_with_parent

if TYPE_CHECKING:
    from workers.runtime.worker import Worker

logger = logging.getLogger(__name__)

HAND_BACK = signal.SIGUSR2
"""The signal with which the parent asks its pool process to hand its chunks back, when the worker shuts down."""

_END = {HAND_BACK, signal.SIGTERM}
"""Slurm and systemd send SIGTERM to every process at once, not only to the parent; it has the same meaning here."""

_GRACE_S = 1.0
"""Seconds that attempts have to notice a shutdown. Their chunks are handed back by then; what they stored, assembly sweeps."""
_PARENT_S = 15.0
"""Seconds that the parent has to end this process, before it ends itself."""
_worker: Worker | None = None
_resources = ExitStack()
_ended = threading.Event()


def _listen(worker: Worker) -> None:
    """Wait for HAND_BACK in a thread, as the main thread may be in a long call and would handle a signal too late."""
    heard = signal.sigwait(_END)
    worker.hand_back()
    worker.idle.wait(_GRACE_S)
    if not worker.idle.is_set():
        os._exit(0)  # a batch or an upload outlasts the grace period; the chunks have been handed back already
    if heard == signal.SIGTERM and not _ended.wait(_PARENT_S):
        worker.end()  # only this process received the signal, so it must end itself
        os._exit(0)


@worker_process_init.connect
def _set_up(**_: Any) -> None:
    """Set up the pool process; torch is loaded here and never in the parent."""
    global _worker
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    die_with_parent()  # a killed parent could not end this process
    settings = load()
    log.configure(settings)
    from workers.runtime.worker import Worker

    _worker = Worker(settings, settings.chunks_in_flight - 1)
    threading.Thread(target=_listen, args=(_worker,), name="hand-back", daemon=True).start()
    _worker.start()
    _measure(settings, _worker)


def _measure(settings: Settings, worker: Worker) -> None:
    """Serve this process' metrics as long as it lives. If the port is in use, the worker runs without metrics."""
    try:
        _resources.enter_context(served(settings, worker.meter.registry, worker.heartbeat.alive))
    except UsageError as error:
        logger.warning("%s", error)


@worker_process_shutdown.connect
def _shut_down(**_: Any) -> None:
    if _worker is not None:
        _worker.end()
    _resources.close()
    _ended.set()


@shared_task(name=tasks.ENHANCE, throws=(RespoolError,))
def enhance(message: object) -> str:
    """Work on the chunk that the message names, if it still needs work; return the outcome, which Flower shows as the result.

    It may be that a thread finishes the chunk. The message is acknowledged then, and the chunk's lease alone answers for it.
    """
    if _worker is None:
        raise RuntimeError("the pool process was not set up; worker_process_init did not run")
    try:
        named = tasks.from_message(message)
    except RespoolError as error:
        logger.warning("%s", error)
        raise  # so that Flower shows it
    outcome = _worker.work(named.job, named.chunk)
    logger.info("%s", outcome, extra={"job": named.job, "chunk": named.chunk})
    return outcome
